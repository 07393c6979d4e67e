"""metarl tune: a search that goes on, and is shared by processes."""

import json
import sys

import pytest
from own_preset import TOML

from metarl.cli.main import main
from metarl.experiment.preset_file import find_preset

optuna = pytest.importorskip("optuna")

KEPT = ["--storage", "sqlite:///tune.db", "--pruner", "none"]


PLAIN = """
from metarl.methods import Method
from metarl.outer import Adam


class Plain(Method):
    inner_steps = 1

    def __init__(self):
        self.outer = Adam()

    def inner_step(self, loss, adapted, support, scale=1.0, *, create_graph=False):
        return adapted
"""


@pytest.fixture
def preset(tmp_path):
    (tmp_path / "mine.toml").write_text(TOML)
    return "mine.toml"


def study(name="mine"):
    return optuna.load_study(study_name=name, storage="sqlite:///tune.db")


def drawn(name="mine"):
    return [tuple(trial.params.values()) for trial in study(name).trials]


def test_tune_writes_a_preset_that_train_takes(preset, tmp_path, capsys):
    arguments = ["tune", preset, *KEPT, "--search", "inner_lr=0.1:0.5:log"]
    assert main([*arguments, "--search", "hidden=1:2", "--trials", "1"]) == 2
    assert main([*arguments, "--trials", "2"]) == 0
    (tmp_path / "mine.json").write_text("{}")
    assert main([*arguments, "--trials", "3", "--out", "mine.json"]) == 2  # a file of somebody else's
    assert main([*arguments, "--trials", "2"]) == 0  # its own
    assert main([*arguments, "--trials", "3", "--out", "more.json"]) == 0  # goes on with the study
    found = study()
    assert len(found.trials) == 3 and found.best_value == max(trial.value for trial in found.trials)
    assert len(set(drawn())) == 3  # nothing is drawn again
    assert capsys.readouterr().out.count("searched: inner_lr=0.1:0.5:log\n") == 3
    assert json.loads((tmp_path / "more.json").read_text())["searched"] == ["inner_lr=0.1:0.5:log"]
    best = find_preset("more.json")
    assert best.method.inner_lr == found.best_params["inner_lr"] and 0.1 <= best.method.inner_lr <= 0.5
    assert best.env_options == {"goal_range": 0.3}
    assert main(["train", "more.json", "--log-dir", "run"]) == 0
    curve = json.loads((tmp_path / "run" / "curve.json").read_text())
    assert curve["mean"][1] == pytest.approx(found.best_value)  # the trial is the run that the preset makes


@pytest.mark.parametrize("out", ["best.toml", "nowhere/best.json", "run/config.json"])
def test_what_cannot_be_written_is_refused_before_the_search(out, preset, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    assert main(["tune", preset, *KEPT, "--trials", "1", "--out", out]) == 2
    assert out in capsys.readouterr().err and not (tmp_path / "tune.db").exists()


def test_a_method_that_is_no_dataclass_has_its_runs_settings_searched(preset, tmp_path):
    (tmp_path / "plain.py").write_text(PLAIN)
    arguments = ["--method", "plain:Plain", "--trials", "1", "--pruner", "none"]
    assert main(["tune", preset, *arguments]) == 0
    written = json.loads((tmp_path / "best.json").read_text())
    best = written["config"]
    assert written["searched"] == ["discount=0.9:0.999", "gae_lambda=0.8:1.0"]
    assert best["method"]["name"] == "plain:Plain" and best["discount"] != find_preset(preset).discount


def test_of_another_method_than_the_files_the_best_is_what_was_tried(tmp_path, capsys):
    settings = {"preset": "point-navigation", "method": "promp", "clip": 0.2, "horizon": 5, "eval_tasks": 2}
    (tmp_path / "mine.json").write_text(json.dumps({**settings, "tasks": 4, "episodes": 2, "iterations": 20}))
    arguments = ["--method", "maml", "--iterations", "1", "--trials", "1", "--out", "best.json"]
    assert main(["tune", "mine.json", *arguments]) == 0
    best = find_preset("best.json")
    assert (type(best.method).__name__, best.horizon) == ("MAML", 5)
    assert (best.tasks, best.iterations) == (4, 20)  # as the file has them, not the one of a trial
    assert main(["tune", "best.json", *arguments[2:-1], "again.json"]) == 0
    assert main(["train", "again.json", "--iterations", "1", "--log-dir", "run"]) == 0


def test_tune_in_several_processes(preset):
    arguments = ["--storage", "sqlite:///tune.db", "--jobs", "2", "--trials", "4", "--out=many.json"]
    assert main(["tune", preset, *arguments]) == 0
    assert 4 <= len(drawn()) <= 5 and len(set(drawn())) == len(drawn())
    assert find_preset("many.json").tasks == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "tune needs a preset or an environment first"),
        (["point-navigation", "--jobs", "2"], "give --storage"),
        (["point-navigation", "--trials", "0"], "trials and jobs must be at least 1"),
        (["point-navigation", "--out", "b.yaml"], "must end in .json"),
        (["point-navigation", "--seed", "-1"], "seed must be at least 0"),
        (["point-navigatio"], "did you mean 'point-navigation'?"),
        (["point-navigation", "--search", "inner_lr"], "search takes NAME=LOW:HIGH"),
        (["point-navigation", "--search", "inner_lr=2:1"], "search needs LOW < HIGH"),
        (["point-navigation", "--search", "inner_lrr=0.1:1"], "did you mean 'inner_lr'?"),
    ],
)
def test_bad_input_of_tune_is_one_line(arguments, message, capsys):
    assert main(["tune", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_tune_without_optuna_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune", "point-navigation"]) == 2
    assert "pip install 'metarl-toolkit[tune]'" in capsys.readouterr().err


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_the_sampler_of_a_study_that_goes_on_draws_something_new(sampler, preset):
    for trials in (2, 4):
        arguments = ["--sampler", sampler, "--trials", str(trials), "--out", f"{trials}.json"]
        assert main(["tune", preset, *KEPT, "--iterations", "1", *arguments]) == 0
    assert len(set(drawn())) == len(drawn()) == 4


def test_an_environment_is_taken_where_a_preset_is(tmp_path, capsys):
    (tmp_path / "small.json").write_text('{"env": "metarl/TabularMDP-v0", "tasks": 2, "episodes": 2, "horizon": 4}')
    sizes = ["--iterations", "1", "--trials", "1", "--search", "inner_lr=0.1:0.5"]
    assert main(["tune", "metarl/TabularMDP-v0", *sizes, "--out", "of-id.json"]) == 0
    assert json.loads((tmp_path / "of-id.json").read_text())["env"] == "metarl/TabularMDP-v0"
    assert find_preset("of-id.json").env == "metarl/TabularMDP-v0"
    assert main(["benchmark", "metarl/TabularMDP-v0", "--seeds", "0"]) == 2  # past the name
    assert capsys.readouterr().err == "metarl: seeds must be at least 1, got 0\n"


def test_an_environment_that_never_ends_is_searched_and_compared_with_a_horizon(tmp_path, capsys):
    assert main(["tune", "own_envs:Endless", "--trials", "1"]) == 2
    assert "no time limit; give a horizon" in capsys.readouterr().err
    sizes = ["--horizon", "3", "--iterations", "1", "--trials", "1", "--search", "inner_lr=0.1:0.5"]
    assert main(["tune", "own_envs:Endless", *sizes]) == 0
    assert json.loads((tmp_path / "best.json").read_text())["horizon"] == find_preset("best.json").horizon == 3
    compared = ["--methods", "random", "--seeds", "1", "--tasks", "2", "--episodes", "2", "--out", "out"]
    assert main(["benchmark", "own_envs:Endless", *compared, "--horizon", "4"]) == 0
    result = json.loads((tmp_path / "out" / "random-seed0" / "result.json").read_text())
    assert result["config"]["horizon"] == 4
    for command in (["tune", "sinusoid"], ["benchmark", "point-navigation"]):
        assert main([*command, "--horizon", "0"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["metarl: unknown setting 'horizon'", "metarl: horizon must be at least 1, got 0"]
