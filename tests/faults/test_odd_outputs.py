"""Names that no file can have or that are written in brackets, devices, full disks and parts that exit: a line each."""

import dataclasses
import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import gymnasium
import pytest
from broken_envs import Line
from matplotlib.figure import Figure
from processes import SMALL

from metarl import UserError
from metarl.cli import main
from metarl.experiment.config_file import as_dict
from metarl.experiment.directory import RunDirectory
from metarl.experiment.presets import PRESETS
from metarl.experiment.tensorboard import log_figure
from metarl.report.benchmark import Protocol, train_and_evaluate

LONG = "a" * 300
POINT = "pretrained:point-navigation"
SB3 = "sb3 point-navigation --k 32 --tasks 0 --horizon 8 --num-envs 2 --settings n_steps=16 batch_size=16".split()


def one_line(arguments, capsys):
    """Return the line that a command ends with."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("metarl: ") and said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", LONG],
        [*SMALL, "--log-dir", LONG, "--resume"],
        [*SMALL, "--log-dir", LONG, "--seeds", "2"],
        *([command, LONG] for command in ("eval", "plot", "video", "analyse")),
        ["eval", POINT, "--json", LONG],
        ["export", POINT, "--steps", "0", "--to", "sb3", LONG],
        ["benchmark", "point-navigation", "--out", LONG],
        [*SB3, "--log-dir", LONG],
        ["tune", "point-navigation", "--trials", "1", "--out", f"{LONG}.json"],
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_a_name_that_is_too_long(arguments, capsys):
    assert "File name too long" in one_line(arguments, capsys)


@pytest.mark.parametrize("command", [[*SMALL, "--seeds", "2"], SB3], ids=["seeds", "sb3"])
def test_a_file_where_a_folder_is_to_be(command, capsys):
    Path("file").touch()
    assert "file" in one_line([*command, "--log-dir", "file"], capsys)


def test_names_in_brackets(capsys):
    os.mkdir("[")
    assert main([*SB3, "--iterations", "1", "--out", "[/b].zip"]) == 0
    arguments = "--methods random --seeds 1 --budget 1 --steps 1 --tasks 2 --episodes 1".split()
    assert main(["benchmark", "point-navigation", *arguments, "--out", "[/red]"]) == 0
    said = capsys.readouterr().out
    assert "writing [/b].zip" in said and "are in [/red]" in said


def test_letters_that_the_locale_does_not_know():
    """Neither in a file of settings nor in its name, which is recorded."""
    Path("für mich.toml").write_text("# für mich\npreset = 'point-navigation'\niterations = 1\n", encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    plain = clean | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", "from metarl.cli import run; run()", "train", "für mich.toml", *SMALL[2:]]
    ended = subprocess.run([*command, "--log-dir", "run"], env=plain, capture_output=True)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    assert "mich.toml" in json.loads(Path("run/config.json").read_text())["command"][2]


def test_a_device_is_not_replaced_and_a_link_is_followed(capsys):
    os.mkfifo("pipe")
    os.symlink("target.json", "link.json")
    small = ["eval", POINT, "--steps", "0", "--tasks", "1", "--episodes", "1", "--json"]
    assert "is no regular file" in one_line([*small, "pipe"], capsys)
    assert Path("pipe").is_fifo()
    assert main([*small, "link.json"]) == 0
    assert Path("link.json").is_symlink() and json.loads(Path("target.json").read_text())


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    said = one_line(["tune", "point-navigation", "--trials", "1", "--iterations", "1", "--out", "b.json"], capsys)
    assert "b.json" in said and "Permission denied" in said


@contextmanager
def full_after(size):
    """Have the disk take no files of more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_the_model_of_stable_baselines3(tmp_path, capsys):
    assert main([*SB3, "--iterations", "1"]) == 0
    before = Path("model.zip").read_bytes()
    with full_after(1000):
        said = one_line([*SB3, "--iterations", "2", "--resume"], capsys)
        assert "model.zip" in said and "File too large" in said
    assert Path("model.zip").read_bytes() == before
    with full_after(10):
        assert "cannot write the logs in" in one_line([*SB3, "--out", "other.zip", "--log-dir", "logs"], capsys)


def test_a_full_disk_takes_no_picture(tmp_path):
    figure = Figure()
    figure.subplots()
    with full_after(10), pytest.raises(UserError, match=r"cannot write to the TensorBoard of .*File too large"):
        log_figure(figure, tmp_path / "run", "pictures/layers", 0)


class Quits(Line):
    """Ends the process in a step, as if all were done: what a window that is closed may do."""

    def step(self, action):
        raise SystemExit


def test_an_environment_that_exits_is_no_success(monkeypatch):
    gymnasium.register("faults/Quits-v0", Quits, max_episode_steps=5)
    with pytest.raises(RuntimeError, match=r"called sys\.exit") as error:
        main(["train", "faults/Quits-v0", *SMALL[2:], "--log-dir", "run"])
    assert isinstance(error.value.__cause__, SystemExit)  # whose traceback shows where
    assert RunDirectory("run").newest()[0].state["iteration"] == 0


def test_rows_that_are_missing_are_told(capsys):
    assert main([*SMALL, "--iterations", "3", "--log-dir", "run"]) == 0
    table = Path("run/progress.csv")
    lines = table.read_text().splitlines(keepends=True)
    for kept, last in ((4, None), (2, 1), (0, 0)):
        table.write_text("".join(lines[:kept]))
        assert main(["train", "--log-dir", "run", "--resume"]) == 0
        said = capsys.readouterr().out
        assert ("progress.csv lacks" in said) == (last is not None)
        assert last is None or f"what came after iteration {last}; going on from iteration 3" in said


def test_a_curve_that_is_a_folder(capsys):
    assert main([*SMALL, "--iterations", "1", "--log-dir", "run"]) == 0
    os.remove("run/curve.json")
    os.mkdir("run/curve.json")
    assert "curve.json' cannot be read: Is a directory" in one_line(["plot", "run"], capsys)


def test_a_benchmarks_run_without_a_checkpoint_begins_anew(tmp_path):
    small = dataclasses.replace(PRESETS["point-navigation"], tasks=2, episodes=2, horizon=4, hidden=(4,))
    RunDirectory(tmp_path / "run").create(dataclasses.replace(small, seed=7))
    train_and_evaluate(small, "maml", Protocol(16, steps=1, tasks=1, episodes=1), tmp_path / "run")
    assert as_dict(RunDirectory(tmp_path / "run").config())["seed"] == small.seed == 0
