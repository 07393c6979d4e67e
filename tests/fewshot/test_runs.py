"""Supervised runs from the command line: the same files, resumed to the bit, and clear errors."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
import torch

import metarl
import metarl.methods
from metarl.cli import main
from metarl.experiment.config_file import from_dict
from metarl.experiment.directory import RunDirectory
from metarl.experiment.presets import PRESETS
from metarl.experiment.run import resume, train
from metarl.experiment.trainer import Trainer
from metarl.models.supervised import FewShot

SMALL = "--tasks 4 --shots 5 --eval-tasks 3 --iterations 4 --eval-every 2 --log-every 2 --checkpoint-every 2".split()
TINY = dataclasses.replace(
    PRESETS["sinusoid"], tasks=4, eval_tasks=3, eval_every=2, log_every=1, checkpoint_every=2, eval_steps=2
)


@pytest.fixture
def run(tmp_path, capsys):
    directory = tmp_path / "run"
    assert main(["train", "sinusoid", *SMALL, "--log-dir", str(directory)]) == 0
    return directory, capsys.readouterr().out


def test_a_run_has_the_usual_files_and_ends_with_its_curve(run):
    directory, out = run
    assert re.search(r"│ 10 +│ \d\.\d{3}", out) and "loss" in out and "5-shot" in out
    assert RunDirectory(directory).config().data == "sinusoid"
    assert (directory / "best.safetensors").exists() and RunDirectory(directory).checkpoints()
    with open(directory / "progress.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["time/iterations"] for row in rows] == ["2", "4"]
    assert {"meta/loss_step0", "meta/loss_step1", "eval/loss_step10"} <= set(rows[0])
    assert json.loads((directory / "curve.json").read_text())["measure"] == "loss"


def test_eval_plot_and_figure(run, tmp_path, capsys):
    directory, _ = run
    assert main(["eval", str(directory), "--steps", "2", "--tasks", "5", "--figure", str(tmp_path / "fits.png")]) == 0
    assert "loss" in capsys.readouterr().out
    assert (tmp_path / "fits.png").stat().st_size > 5000
    assert main(["plot", str(directory), "--out", str(tmp_path / "runs.png")]) == 0


def test_examples_count_once_however_many_steps_they_serve():
    trainer = Trainer(TINY)  # 10 shots; one inner step, and the query examples after it
    trainer.iterate()
    assert trainer.progress.env_steps == 4 * (TINY.shots + TINY.queries)
    reptile = Trainer(dataclasses.replace(TINY, method=metarl.methods.SUPERVISED["reptile"]))
    reptile.iterate()  # five inner steps on new examples each
    assert reptile.progress.env_steps == 5 * 4 * (TINY.shots + TINY.queries)


def test_a_curve_that_diverges_is_strict_json(run, tmp_path, capsys):
    directory, file = run[0], tmp_path / "curve.json"
    model = metarl.load(directory)
    model.trainer.params["layers.0.weight"].mul_(1e8)  # gradient steps of any size diverge from here
    model.save(tmp_path / "wild.safetensors")
    assert main(["eval", str(tmp_path / "wild.safetensors"), "--steps", "9", "--tasks", "3", "--json", str(file)]) == 0
    found = json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["mean"][9] is None and found["mean"][0] > 1


@pytest.mark.parametrize("method", ["fomaml", "anil", "cavia", "meta-sgd", "reptile"])
def test_every_method_runs(method, tmp_path):
    directory = tmp_path / "run"
    assert main(["train", "sinusoid", "--method", method, *SMALL, "--log-dir", str(directory)]) == 0
    assert json.loads((directory / "config.json").read_text())["config"]["method"]["name"] == method
    assert main(["eval", str(directory), "--tasks", "2"]) == 0


@pytest.mark.parametrize("method", ["maml", "reptile"])
def test_a_resumed_run_continues_to_the_bit(method, tmp_path):
    config = dataclasses.replace(TINY, method=metarl.methods.SUPERVISED[method])
    whole, cut = Trainer(config), Trainer(config)
    train(whole, 5)
    directory = RunDirectory(tmp_path / "cut")
    directory.create(config)
    train(cut, 3, directory)
    again = Trainer(from_dict(json.loads(directory.config_file.read_text())["config"]))
    assert resume(again, directory) == [] and again.progress.iteration == 3
    train(again, 5, directory)
    assert all(torch.equal(whole.params[name], again.params[name]) for name in whole.params)
    assert whole.progress.best_return == again.progress.best_return


def test_the_best_has_the_smallest_held_out_loss(tmp_path):
    trainer, losses = Trainer(TINY), []
    evaluate = trainer.evaluate

    def remember():
        curve = evaluate()
        losses.append(float(curve.mean[1]))
        return curve

    trainer.evaluate = remember
    directory = RunDirectory(tmp_path)
    directory.create(TINY)
    train(trainer, 8, directory)
    assert trainer.progress.best_return == -min(losses)
    assert len(set(losses)) == 4


def test_a_model_adapts_to_examples_and_predicts(run, tmp_path):
    model = metarl.load(run[0])
    assert isinstance(model, FewShot)
    x = np.linspace(-5, 5, 10)[:, None]
    y = 2 * np.sin(x)
    before, after = model.adapt(x, y, steps=0), model.adapt(x, y, steps=20)
    assert np.square(after.predict(x) - y).mean() < np.square(before.predict(x) - y).mean()
    with pytest.raises(metarl.UserError, match=r"y must be targets \[N, 1\], got \[10\]"):
        model.adapt(x, y[:, 0])
    with pytest.raises(metarl.UserError, match=r"x must not be empty, got \[0, 1\]"):
        model.adapt(x[:0], y[:0])
    with pytest.raises(metarl.UserError, match="must be finite"):
        model.adapt(x, y * np.nan)
    model.save(tmp_path / "saved")
    again = metarl.load(tmp_path / "saved").adapt(x, y, steps=20)
    assert np.array_equal(again.predict(x), after.predict(x))


def test_options_not_given_on_resume_are_the_runs(run, capsys):
    directory = str(run[0])
    assert main(["train", "sinusoid", "--log-dir", directory, "--resume", "--iterations", "6"]) == 0
    assert "sinusoid, 5-shot, 6 meta-iterations" in capsys.readouterr().out
    assert main(["train", "glyphs-5way-1shot", "--log-dir", directory, "--resume"]) == 2
    assert "holds a run of sinusoid, not of glyphs, 5-way" in capsys.readouterr().err
    assert main(["train", "sinusoid-oracle", "--log-dir", directory, "--resume"]) == 2
    assert "holds a run of sinusoid, not of sinusoid, oracle" in capsys.readouterr().err


def test_a_run_of_other_ways_is_not_gone_on_with(tmp_path, capsys):
    small = "--tasks 2 --eval-tasks 2 --eval-steps 1 --eval-queries 2 --filters 2 --iterations 1".split()
    directory = ["--log-dir", str(tmp_path / "run")]
    assert main(["train", "glyphs-5way-1shot", *small, *directory]) == 0
    assert main(["train", "glyphs-20way-1shot", *directory, "--resume", "--iterations", "2"]) == 2
    said = capsys.readouterr().err
    assert "holds a run of glyphs, 5-way, not of glyphs, 20-way" in said and said.count("\n") == 1
    assert main(["train", "glyphs-5way-1shot", *directory, "--resume", "--iterations", "2"]) == 0


TRAIN = ["train", "sinusoid"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*TRAIN, "--shots", "0"], "shots must be at least 1, got 0"),
        ([*TRAIN, "--data", "sinusiod"], "unknown data 'sinusiod'; did you mean 'sinusoid'?"),
        ([*TRAIN, "--method", "promp"], "method promp is for reinforcement learning only"),
        ([*TRAIN, "--outer", "ppo"], "is for reinforcement learning only"),
        ([*TRAIN, "--outer-lr", "-1"], "outer_lr must be positive"),
        ([*TRAIN, "--episodes", "3"], "unknown option '--episodes'"),
        (["train", "sinusiod"], "did you mean 'sinusoid'?"),
        (["benchmark", "sinusoid"], "benchmark compares policies in environments; sinusoid is of sinusoid, 10-shot"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_what_only_environments_have_is_refused(run, capsys):
    directory = str(run[0])
    assert main(["eval", directory, "--episodes", "3"]) == 2
    assert main(["video", directory]) == 2
    said = capsys.readouterr().err
    assert "shots and queries" in said and "nothing to film" in said
