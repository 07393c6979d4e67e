"""The command line as a user types it: what it prints and what it refuses."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from metarl.cli import main
from metarl.methods import METHODS

SMALL = "--tasks 3 --episodes 3 --horizon 8 --eval-tasks 2 --eval-episodes 2 --iterations 2".split()


@pytest.fixture
def run(tmp_path, capsys):
    directory = str(tmp_path / "run")
    assert main(["train", "point-navigation", *SMALL, "--log-dir", directory]) == 0
    return directory, capsys.readouterr().out


def test_train_ends_with_the_curve_and_what_to_do_next(run):
    directory, out = run
    assert re.search(r"│ 3 +│ -\d", out)
    assert f"tensorboard --logdir {directory}" in out
    assert f"metarl eval {directory}" in out


def test_eval_prints_and_writes_the_curve(run, tmp_path, capsys):
    directory, _ = run
    file = tmp_path / "curve.json"
    options = ["--steps", "2", "--tasks", "4", "--episodes", "3", "--seed", "7", "--json", str(file)]
    assert main(["eval", directory, *options]) == 0
    assert "95 % interval" in capsys.readouterr().out
    curve = json.loads(file.read_text())
    assert set(curve) == {
        "env",
        "steps",
        "mean",
        "ci_low",
        "ci_high",
        "per_task",
        "tasks",
        "env_steps",
        "unit",
        "measure",
        "episodes_per_step",
    }
    assert curve["steps"] == [0, 1, 2]
    assert [len(task) for task in curve["per_task"]] == [3] * 4
    assert [len(task) for task in curve["tasks"]] == [2] * 4
    assert all(
        low < mean < high for low, mean, high in zip(curve["ci_low"], curve["mean"], curve["ci_high"], strict=True)
    )


def test_resume_goes_on_to_more_iterations(run, capsys):
    directory, _ = run
    assert main(["train", "point-navigation", "--log-dir", directory, "--resume", "--iterations", "3"]) == 0
    assert "iteration 3/3" in capsys.readouterr().out


def test_environment_options_may_be_given_again_on_resume(tmp_path, capsys):
    train = ["train", "point-navigation", "--env-options", "goal_range", "0.3", "--log-dir", str(tmp_path / "run")]
    assert main([*train, *SMALL]) == 0
    assert main([*train, "--resume", "--iterations", "3"]) == 0
    assert "iteration 3/3" in capsys.readouterr().out
    assert main([*train[:2], "--env-options", "goal_range", "0.4", *train[5:], "--resume"]) == 2
    assert "env_options.goal_range: 0.3 -> 0.4" in capsys.readouterr().err


def test_a_script_that_is_queued_again_may_always_resume(tmp_path, capsys):
    train = ["train", "point-navigation", "--log-dir", str(tmp_path / "run"), *SMALL, "--resume"]
    assert main(train) == 0
    assert f"nothing was saved in {tmp_path / 'run'} yet; the run begins now" in capsys.readouterr().out
    assert main(train) == 0
    assert "nothing left to do" in capsys.readouterr().out


def test_a_curve_of_several_tasks_that_are_given(tmp_path, capsys):
    assert main(["train", "point-navigation", "--log-dir", str(tmp_path / "run"), *SMALL]) == 0
    found = []
    for tasks in ([[0.3, 0.2]], [[-0.4, 0.1]], [[0.3, 0.2], [-0.4, 0.1]]):
        typed = [word for task in tasks for word in ("--task", *map(str, task))]
        out = tmp_path / f"{len(found)}.json"
        assert main(["eval", str(tmp_path / "run"), *typed, "--episodes", "2", "--json", str(out)]) == 0
        found.append(json.loads(out.read_text())["per_task"])
        assert json.loads(out.read_text())["tasks"] == tasks
    said = capsys.readouterr().out
    assert [len(per_task) for per_task in found] == [1, 1, 2]
    assert found[2][0] == pytest.approx(found[0][0]) and "2 tasks" in said and "1 task" in said
    assert main(["eval", str(tmp_path / "run"), "--task", "0.3", "0.2", "--tasks", "5"]) == 2
    assert "--tasks 5 counts held-out tasks, --task gives them: give one of the two" in capsys.readouterr().err


def test_a_method_keeps_the_settings_of_the_preset(tmp_path, capsys):
    directory = tmp_path / "fomaml"
    arguments = ["train", "point-navigation", "--method", "fomaml", *SMALL, "--log-dir", str(directory)]
    assert main(arguments) == 0
    method = json.loads((directory / "config.json").read_text())["config"]["method"]
    assert method["first_order"] is True
    assert method["inner_lr"] == 0.5


def test_lists_and_help(capsys):
    for arguments in (["presets"], ["envs"], ["--help"], [], ["--version"]):
        assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "half-cheetah-vel" in out and "metarl train PRESET" in out
    with pytest.raises(SystemExit) as stop:
        main(["train", "point-navigation", "--help"])
    assert stop.value.code == 0
    assert "Step size of the inner gradient steps" in capsys.readouterr().out


TRAIN = ["train", "point-navigation"]

OTHERS = {"policy": "own_maker:make", "activation": "relu", "layer_norm": None, "last_layer_std": 0.1, "context": 3}
OTHERS |= {"reward_coef": 1.0, "inner_loss": "dice", "embedding": 3, "truncation": 3, "memory": "lstm"}


@pytest.mark.parametrize("method", ["rl2", "varibad"])
def test_the_help_leaves_out_what_is_refused(method, tmp_path, capsys):
    (tmp_path / "own_maker.py").write_text("def make(observations, actions, generator): pass")
    with pytest.raises(SystemExit):
        main([*TRAIN, "--method", method, "--help"])
    shown = capsys.readouterr().out
    assert "--hidden" in shown and "--vf-coef" in shown
    for name in METHODS[method].fixed:
        option = f"--{name.replace('_', '-')}"
        assert option not in shown
        words = [option] if OTHERS[name] is None else [option, str(OTHERS[name])]
        assert main([*TRAIN, "--method", method, *words]) == 2
        said = capsys.readouterr().err
        assert "unknown" not in said and said.startswith(f"metarl: {method}") and said.count("\n") == 1
        assert main([*TRAIN, "--method", method, f"{option}x"]) == 2
        assert f"'{option}'" not in capsys.readouterr().err  # it does not suggest it either


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train"], "train needs a preset or an environment first"),
        (["train", "half-cheeta-vel"], "unknown preset 'half-cheeta-vel'; did you mean 'half-cheetah-vel'?"),
        ([*TRAIN, "--iteratons", "3"], "unknown option '--iteratons'; did you mean '--iterations'?"),
        ([*TRAIN, "--iterations", "0"], "iterations must be at least 1, got 0"),
        ([*TRAIN, "--tasks", "-1"], "tasks must be at least 1, got -1"),
        ([*TRAIN, "--tasks", "20000"], "tasks must be at most 16,384, got 20,000"),
        ([*TRAIN, "--episodes", "0"], "episodes must be at least 1, got 0"),
        ([*TRAIN, "--inner-lr", "-0.1"], "inner_lr must be positive and finite, got -0.1"),
        ([*TRAIN, "--inner-lr", "nan"], "inner_lr must be positive and finite, got nan"),
        ([*TRAIN, "--max-kl", "nan"], "max_kl must be positive and finite, got nan"),
        ([*TRAIN, "--inner-lr", "big"], "--inner-lr: expected a number, got 'big'"),
        ([*TRAIN, "--tasks", "1.5"], "--tasks: expected a whole number, got '1.5'"),
        ([*TRAIN, "--horizon", "x"], "--horizon: expected None or a whole number, got 'x'"),
        ([*TRAIN, "--hidden", "a", "b"], "--hidden: cannot read 'a', 'b'"),
        ([*TRAIN, "--tasks"], "--tasks needs a value"),
        (["plot", "run", "--size", "3"], "--size: expected None or two numbers, got '3'"),
        (["export", "run", "--to", "sb3"], "--to needs 2 values"),
        ([*TRAIN, "--method", "fomalm"], "unknown method 'fomalm'; did you mean 'fomaml'?"),
        ([*TRAIN, "--env", "metarl/PointNav-v0"], "did you mean 'metarl/PointNavigation-v0'?"),
        ([*TRAIN, "--env", "CartPole-v1"], "lacks task_space, sample_tasks, set_task"),
        ([*TRAIN, "--env-options", "goal_rnge", "1"], "unexpected keyword argument 'goal_rnge'"),
        ([*TRAIN, "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
        ([*TRAIN, "--log-dir", "/proc/nowhere"], "log directory '/proc/nowhere' cannot be written"),
        ([*TRAIN, "--resume"], "--resume needs --log-dir"),
        (["eval", "nothing"], "'nothing.safetensors' does not exist"),
        (["eval"], "metarl eval needs PATH;"),
        (["presets", "all"], "presets takes no arguments"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(arguments, message, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("metarl: ") and said.count("\n") == 1


def test_a_folder_of_runs_names_them(run, tmp_path, capsys):
    assert main(["video", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"holds no run (no config.json); there are runs in it: {run[0]}" in said and said.count("\n") == 1


def test_a_folder_of_seeds_has_a_curve_over_them(tmp_path, capsys):
    for seed in ("0", "1", "2"):
        directory = str(tmp_path / "runs" / f"seed-{seed}")
        assert main([*TRAIN, *SMALL, "--seed", seed, "--log-dir", directory]) == 0
    evaluation = ["--tasks", "4", "--episodes", "2", "--steps", "1"]
    few = [*evaluation, "--json", str(tmp_path / "curve.json")]
    assert main(["eval", str(tmp_path / "runs" / "seed-1"), *few]) == 0
    alone = json.loads((tmp_path / "curve.json").read_text())
    capsys.readouterr()
    assert main(["eval", str(tmp_path / "runs"), *few]) == 0
    assert "4 held-out tasks, means over 3 seeds" in capsys.readouterr().out
    found = json.loads((tmp_path / "curve.json").read_text())
    assert list(found["runs"]) == ["seed-0", "seed-1", "seed-2"] and found["runs"]["seed-1"] == alone
    assert "per_task" not in found
    by_seed = np.array([run["mean"] for run in found["runs"].values()])
    assert np.allclose(found["by_seed"], by_seed) and np.allclose(found["mean"], by_seed.mean(0))
    ends = stats.t.interval(0.95, 2, by_seed.mean(0), stats.sem(by_seed))
    assert np.allclose((found["ci_low"], found["ci_high"]), ends)

    assert main(["eval", str(tmp_path / "runs"), *evaluation, "--figure", str(tmp_path / "x.png")]) == 2
    assert "--figure draws one run" in capsys.readouterr().err
    other = tmp_path / "runs" / "other"
    assert main([*TRAIN, *SMALL, "--horizon", "5", "--log-dir", str(other)]) == 0
    capsys.readouterr()
    assert main(["eval", str(tmp_path / "runs"), *evaluation]) == 2
    said = capsys.readouterr().err
    assert "differ in more than their seed; name one of them: " in said and str(other) in said


def test_bad_input_loses_nothing(run, capsys):
    directory, _ = run
    assert main([*TRAIN, "--log-dir", directory]) == 2
    assert main(["train", "half-cheetah-dir", "--log-dir", directory, "--resume"]) == 2
    assert main([*TRAIN, "--log-dir", directory, "--resume", "--seed", "5"]) == 2
    said = capsys.readouterr().err
    assert "already holds a run" in said
    assert "holds a run of metarl/PointNavigation-v0, not of metarl/HalfCheetahDir-v0" in said
    assert "seed: 0 -> 5" in said
    assert main(["eval", directory, "--tasks", "2", "--episodes", "2"]) == 0
    assert main(["eval", directory, "--tasks", "0"]) == 2
