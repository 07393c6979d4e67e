"""Files as presets, and several seeds at once."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from own_preset import TOML

import metarl
from metarl import UserError
from metarl.cli import seeds
from metarl.cli.main import main
from metarl.experiment.config import Config
from metarl.experiment.config_file import as_dict
from metarl.experiment.preset_file import find_preset, from_settings
from metarl.experiment.presets import PRESETS


@pytest.fixture
def preset(tmp_path):
    (tmp_path / "mine.toml").write_text(TOML)
    return "mine.toml"


def recorded(directory):
    with open(f"{directory}/config.json") as file:
        return json.load(file)["config"]


def test_a_file_is_taken_where_a_preset_is(preset, capsys):
    config = find_preset(preset)
    assert isinstance(config, Config) and config.hidden == (8, 8) and config.env_options == {"goal_range": 0.3}
    assert config.action_scale == PRESETS["point-navigation"].action_scale
    assert main(["train", preset, "--tasks", "3", "--log-dir", "run"]) == 0
    found = recorded("run")
    assert found["tasks"] == 3 and found["method"]["name"] == "promp"
    assert found["method"]["inner_lr"] == 0.2 and found["method"]["outer"]["clip"] == 0.25
    assert "mine: metarl/PointNavigation-v0" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--settings", "mine.toml"], ["--settings=mine.toml"]])
def test_a_file_is_taken_as_an_option_too(words, preset):
    assert main(["train", *words, "--tasks", "3", "--log-dir", "run"]) == 0
    assert main(["train", "--tasks", "3", *words, "--log-dir", "run", "--resume"]) == 0
    assert recorded("run")["tasks"] == 3 and recorded("run")["method"]["name"] == "promp"


@pytest.mark.parametrize(
    "words", [["point-navigation", "--settings", "a.toml"], ["--settings", "a", "--settings", "b"]]
)
def test_two_presets_are_refused(words, capsys):
    assert main(["train", *words]) == 2
    assert capsys.readouterr().err == "metarl: train takes one preset, environment or --settings FILE\n"


def test_a_file_that_holds_no_settings_of_a_run_says_so(tmp_path):
    (tmp_path / "odd.json").write_text('{"config": 3}')
    with pytest.raises(UserError, match="no settings of a run"):
        find_preset("odd.json")


def test_a_runs_own_settings_are_a_preset(preset):
    assert main(["train", preset, "--log-dir", "run"]) == 0
    assert find_preset("run/config.json") == find_preset(preset)


def test_settings_begin_with_an_environment_or_data_too():
    assert from_settings({"env": "metarl/AntVel-v0", "tasks": 5}).tasks == 5
    assert from_settings({"data": "sinusoid", "method": "reptile", "inner_steps": 3}).method.inner_steps == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": 3}, "settings begin with one of preset, env, data, got none"),
        ({"preset": "point-navigation", "env": "metarl/AntVel-v0"}, "got preset and env"),
        ({"preset": "point-nav"}, "did you mean 'point-navigation'"),
        ({"preset": "point-navigation", "taskz": 3}, "unknown setting 'taskz'; did you mean 'tasks'?"),
        ({"preset": "point-navigation", "tasks": 0}, "tasks must be at least 1"),
        ({"preset": "point-navigation", "method": "os:system"}, "nothing is imported because a file says so"),
        ({"data": "sinusoids"}, "did you mean 'sinusoid'"),
    ],
)
def test_a_wrong_setting_of_a_file_is_named(settings, message, tmp_path, capsys):
    with pytest.raises(UserError, match=message.split(";")[0].replace("?", r"\?")):
        from_settings(settings)
    (tmp_path / "wrong.json").write_text(json.dumps(settings))
    assert main(["train", "wrong.json"]) == 2
    said = capsys.readouterr().err
    assert "preset 'wrong.json': " in said and message in said and said.count("\n") == 1


def test_files_that_are_none(tmp_path, capsys):
    (tmp_path / "broken.toml").write_text("tasks =")
    for name, message in (("nowhere.toml", "No such file"), ("broken.toml", "is no TOML")):
        assert main(["train", name]) == 2
        assert message in capsys.readouterr().err


def test_several_seeds_have_a_folder_each_which_plot_takes(preset, tmp_path, capsys):
    def train(number, *more):
        return main(["train", preset, "--seeds", str(number), "--jobs", "2", "--seed", "5", *more])

    assert train(1, "--log-dir", "runs") == 0
    assert "iteration 2/2" in capsys.readouterr().out
    assert train(2, "--log-dir", "runs") == 2
    assert "seed-5 already holds a run" in capsys.readouterr().err
    assert train(2, "--log-dir", "runs", "--resume") == 0  # one more; the other is done
    assert [recorded(f"runs/seed-{seed}")["seed"] for seed in (5, 6)] == [5, 6]
    assert "nothing left to do" in (tmp_path / "runs" / "seed-5" / "train.log").read_text()
    assert main(["plot", "runs"]) == 0 and (tmp_path / "runs.png").exists()
    assert train(1, "--log-dir", "others", "--device", "cuda:77") == 2
    assert "seed 5 failed: metarl: device 'cuda:77' cannot be used" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_reaches_the_training_that_is_just_being_started(name, status, preset, monkeypatch, capsys):
    start = subprocess.Popen

    def and_be_told_to_stop(*args, **how):
        process = start(*args, **how)
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(0.2)  # the signal is dealt with in the main thread, before this one goes on
        return process

    monkeypatch.setattr(subprocess, "Popen", and_be_told_to_stop)
    monkeypatch.setattr(seeds, "COMMAND", [sys.executable, "-c", "import time; time.sleep(30)"])
    assert main(["train", preset, "--seeds", "2", "--log-dir", "runs"]) == status
    assert not os.path.exists("runs/seed-1")
    said = capsys.readouterr()
    assert said.err == f"metarl: stopped by {name}; each seed says what it saved, --resume goes on\n"
    assert f"seed 0: killed by {'SIGHUP' if name == 'SIGHUP' else 'SIGTERM'}" in said.out
    assert "failed" not in said.out and "Look further" not in said.out


def test_seeds_whose_folder_and_words_are_odd(preset, monkeypatch, capsys):
    says = "import sys; sys.stdout.buffer.write(bytes([255, 10]) + sys.argv[1].encode()); sys.exit(1)"
    monkeypatch.setattr(seeds, "COMMAND", [sys.executable, "-c", says, "iteration [1/2] [/b]"])
    assert main(["train", preset, "--seeds", "1", "--log-dir", "of [/red]"]) == 1
    said = capsys.readouterr()
    assert "writing to of [/red]" in said.out and "seed 0 failed: iteration [1/2] [/b]" in said.out and not said.err


@pytest.mark.parametrize(
    "options",
    [
        {"inner_steps": 2},
        {"inner_steps": 2, "context": 4},
        {"epochs": 2, "episodes": 3},
        {"inner_steps": 2, "eval_every": 7},
    ],
    ids=lambda options: "-".join(options),
)
def test_settings_bring_along_the_same_on_the_command_line_and_in_python(options, capsys):
    typed = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    small = {"iterations": 1, "tasks": 2, "horizon": 3, "eval_tasks": 1, "eval_episodes": 1}
    size = [f"--{name.replace('_', '-')}={value}" for name, value in small.items()]
    assert main(["train", "half-cheetah-vel", *typed, *size, "--log-dir", "run"]) == 0
    assert ("these settings of promp" in capsys.readouterr().out) == ("inner_steps" in options)
    model = metarl.from_preset("half-cheetah-vel", **options, **small)
    model.close()
    assert recorded("run") == as_dict(model.config)


def test_what_a_file_states_stays_with_another_method(tmp_path, capsys):
    (tmp_path / "few.toml").write_text(TOML.replace('method = "promp"', "").replace("clip = 0.25", ""))
    assert main(["train", "few.toml", "--method", "rl2", "--log-dir", "run"]) == 0
    assert "with rl2 instead of maml: gae_lambda 0.95 (1.0)\n" in capsys.readouterr().out
    found = recorded("run")
    assert (found["tasks"], found["episodes"], found["iterations"], found["eval_every"]) == (2, 2, 2, 1)
    model = metarl.from_preset("few.toml", method="rl2")
    model.close()
    assert as_dict(model.config) == found


def test_a_file_and_the_same_settings_typed_are_the_same_run(tmp_path):
    (tmp_path / "few.json").write_text(json.dumps({"preset": "half-cheetah-dir", "method": "rl2", "tasks": 12}))
    model = metarl.from_preset("half-cheetah-dir", method="rl2", tasks=12)
    model.close()
    assert find_preset("few.json") == model.config and model.config.tasks == 12


def test_what_is_typed_stays_with_another_method(capsys):
    size = ["--tasks", "3", "--horizon", "3", "--iterations", "1", "--eval-tasks", "1", "--eval-episodes", "1"]
    assert main(["train", "half-cheetah-dir", "--method", "maml", *size, "--log-dir", "run"]) == 0
    assert "instead" not in capsys.readouterr().out
    found = recorded("run")
    assert (found["tasks"], found["iterations"], found["eval_every"]) == (3, 1, 40)


def test_a_run_goes_on_by_its_folder_alone(preset, capsys):
    assert main(["train", preset, "--log-dir", "run"]) == 0
    assert main(["train", "--log-dir", "run", "--resume", "--iterations", "3"]) == 0
    told = capsys.readouterr().out
    assert "run: metarl/PointNavigation-v0, 3 meta-iterations" in told and recorded("run")["method"]["name"] == "promp"
    assert main(["train", "--log_dir=run", "--resume", "--iterations", "3"]) == 0
    assert main(["train", "--resume", preset, "--log-dir", "run", "--iterations", "3"]) == 0
    assert main(["train", "--log-dir", "nowhere", "--resume"]) == 2
    assert "there is no run in 'nowhere'" in capsys.readouterr().err


def test_a_run_with_nothing_left_keeps_its_record(preset, capsys):
    assert main(["train", preset, "--log-dir", "run"]) == 0
    assert main(["train", preset, "--log-dir", "run", "--resume", "--iterations", "1"]) == 0
    assert "nothing left to do: 2 meta-iterations" in capsys.readouterr().out and recorded("run")["iterations"] == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tardy", "of tardy.py here, name an object: tardy:NAME"),
        ("tardy.py:Slower", "'tardy.py' is a file; its module is called 'tardy'"),
        ("Slower-v0", "module:Id-v0 finds what a module of yours registers"),
    ],
)
def test_a_module_named_in_another_way_is_found(name, message, tmp_path, capsys):
    (tmp_path / "tardy.py").write_text("")
    assert main(["train", name]) == 2
    assert message in capsys.readouterr().err


def test_an_option_may_be_typed_with_underscores(preset, tmp_path):
    (tmp_path / "losses.py").write_text("def mine(actions, episodes):\n    return -actions.entropy().sum(-1)\n")
    assert main(["train", preset, "--inner_loss=losses:mine", "--log_dir", "run"]) == 0
    assert recorded("run")["inner_loss"] == "losses:mine"


def test_a_finished_run_has_nothing_left_to_do(preset, capsys):
    assert main(["train", preset, "--log-dir", "run"]) == 0
    assert main(["train", preset, "--log-dir", "run", "--resume"]) == 0
    assert "nothing left to do: 2 meta-iterations are done" in capsys.readouterr().out
    assert main(["train", preset, "--log-dir", "run", "--resume", "--iterations", "1"]) == 0
    assert "nothing left to do: 2 meta-iterations are done" in capsys.readouterr().out


def test_a_file_names_a_method_whose_module_is_typed(tmp_path):
    (tmp_path / "slower.py").write_text(
        "from dataclasses import dataclass\nfrom metarl.methods import MAML\n\n\n"
        "@dataclass(frozen=True)\nclass Slower(MAML):\n    times: int = 2\n"
    )
    (tmp_path / "own.toml").write_text(TOML.replace('"promp"', '"slower:Slower"').replace("clip = 0.25", "times = 3"))
    with pytest.raises(UserError, match=r"has the method slower:Slower, .*--import slower"):
        find_preset("own.toml")
    assert main(["train", "own.toml", "--import", "slower", "--log-dir", "run"]) == 0
    assert recorded("run")["method"]["name"] == "slower:Slower" and recorded("run")["method"]["times"] == 3
    model = metarl.from_preset("own.toml", modules=("slower",))
    assert model.config.method.times == 3
    model.close()
