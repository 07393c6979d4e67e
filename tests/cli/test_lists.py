"""`metarl envs`, `metarl presets` and the help, on a screen of 80 columns."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

import metarl
from metarl.cli.helptext import documented
from metarl.cli.main import main
from metarl.experiment.presets import PRESETS
from metarl.experiment.settings import fixed
from metarl.methods import METHODS
from metarl.rl.ids import catalogue


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("command", ["envs", "presets"])
def test_lists_have_a_line_each_on_80_columns(command, screen, capsys):
    assert main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert command == "envs" or not any("…" in line for line in lines)  # a sentence on a task may be cut, its name not
    assert main([command, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    names = list(entries) if isinstance(entries, dict) else [entry["env_id"] for entry in entries]
    assert len(names) == {"envs": len(catalogue()), "presets": len(PRESETS)}[command]
    assert [line.split()[0] for line in lines[1 : len(names) + 1]] == names  # none is cut


@pytest.mark.parametrize("name", ["metarl/AntGoal-v0", "AntGoal", "AntGoal-v0"])
def test_all_about_one_environment(name, screen, capsys):
    assert main(["envs", name]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for word in ("metarl/AntGoal-v0", "[-3, 3]²", "200 steps", "goal_range=3.0", "Finn et al. 2017", "metarl train"):
        assert word in out
    assert main(["envs", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["horizon"] == 200


def test_an_unknown_environment_names_the_nearest(capsys):
    assert main(["envs", "MetaWorld"]) == 2
    assert "MetaWorld-v0 plays the package metaworld's own environments" in capsys.readouterr().err
    assert main(["envs", "AntGol"]) == 2
    assert "unknown environment 'AntGol'; did you mean 'metarl/AntGoal-v0'?" in capsys.readouterr().err


@dataclass
class Base:
    lone: int = 1
    unit: str = "default text"
    """What is
    counted."""


@dataclass
class Derived(Base):
    many: bool = False
    """Whether there are several."""


def test_a_field_is_told_by_the_sentence_below_it_and_by_nothing_else():
    assert documented(Derived) == {"unit": "What is counted.", "many": "Whether there are several."}


def help_of(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments, "--help"])
    assert not stop.value.code
    return capsys.readouterr().out


def test_the_help_of_train_says_whose_defaults_it_shows(capsys):
    for shown, args in ((True, ["train", "--help"]), (False, ["train", "ant-dir", "--help"])):
        with pytest.raises(SystemExit):
            main(args)
        assert ("The defaults below are those of point-navigation." in capsys.readouterr().out) is shown


def test_the_help_of_train_groups_the_settings(screen, capsys):
    out = help_of(capsys, "point-navigation")
    titles = re.findall(r"([\w-]+) options\b", out)
    assert titles[:4] == ["run", "task", "method", "outer"] and {"evaluation", "logging"} <= set(titles)
    evaluation = out[out.index("evaluation options") : out.index("logging options")]
    assert set(re.findall(r"--[a-z][\w-]+", evaluation)) == {
        "--eval-every", "--eval-tasks", "--eval-episodes", "--eval-steps"
    }  # fmt: skip
    known = {f"--{name.replace('_', '-')}" for name in vars(PRESETS["point-navigation"]) if name != "method"}
    assert known <= set(re.findall(r"--[\w-]+", out))


@pytest.mark.parametrize("method", METHODS)
def test_each_methods_help_shows_its_settings(method, screen, capsys):
    out = help_of(capsys, "point-navigation", "--method", method)
    assert f" {method}: " in out
    names = [name for name in vars(METHODS[method]) if name != "outer"] + list(vars(METHODS[method].outer))
    for name in set(names) - fixed(METHODS[method]):
        assert f"--{name.replace('_', '-')}" in out


def test_flags_may_be_given_where_they_are_on_already(tmp_path):
    few = "--tasks 2 --episodes 2 --horizon 5 --eval-tasks 2 --eval-episodes 2 --iterations 1".split()
    for flag, on in (("--film", True), ("--no-film", False)):
        directory = tmp_path / flag
        assert main(["train", "point-navigation", *few, flag, "--no-first-order", "--log-dir", str(directory)]) == 0
        config = json.loads((directory / "config.json").read_text())["config"]
        assert config["film"] is on and config["method"]["first_order"] is False


def imported(code):
    """The modules that Python has loaded after some code, in a process of its own."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(found.stderr.split())


def test_help_and_version_load_nothing_large():
    """They take a sixth of a second because of it; a test of the seconds would fail on a busy machine."""
    large = {"torch", "matplotlib", "scipy", "stable_baselines3", "mujoco", "gymnasium", "tyro", "rich"}
    for arguments in (["--help"], ["--version"], ["trian"]):
        assert not imported(f"from metarl.cli import main; main({arguments})") & large


def test_the_classes_load_torch_and_neither_matplotlib_nor_scipy():
    modules = imported("import metarl")
    assert "torch" not in modules
    modules = imported("import metarl; metarl.MAML")
    assert "torch" in modules
    assert not modules & {"matplotlib", "matplotlib.figure", "scipy.signal", "scipy.stats", "mujoco", "ray"}
    assert set(metarl.__all__) <= set(dir(metarl))
