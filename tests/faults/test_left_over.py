"""More of what used to end in a traceback, or silently: one line now, and the user's own errors stay theirs."""

import ctypes
import json
import os
import subprocess
import sys
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from broken_envs import Line
from processes import SMALL, Command

import metarl
from metarl import UserError
from metarl.cli.main import main

ONE = [*SMALL, "--iterations", "1"]
SIZES = {"tasks": 3, "episodes": 2, "horizon": 6, "hidden": (4,), "inner_lr": 0.1}


class Says(Line):
    """Line whose infos hold what it is told to say."""

    said: ClassVar = {}

    def step(self, action):
        obs, reward, terminated, truncated, _ = super().step(action)
        return obs, reward, terminated, truncated, self.said


def saying(**infos):
    return type("Says", (Says,), {"said": infos})


@pytest.mark.parametrize("name", ["unstable", "success"])
@pytest.mark.parametrize("value", ["no", 0.5, float("nan"), 2, [1, 2], np.ones(2), {"a": 1}])
def test_an_info_that_is_no_bool(name, value, observe):
    with pytest.raises(UserError, match=f"the environment's info '{name}' must be True or False in each of") as found:
        metarl.MAML(saying(**{name: value}), **SIZES).learn(1)
    assert "\n" not in str(found.value)
    observe(f"the env's info `{name}` is {value!r}", f"`{found.value}`")


@pytest.mark.parametrize("value", [True, np.True_, 1, 1.0, np.float32(1)])
def test_an_info_that_is_as_good_as_a_bool(value):
    model = metarl.MAML(saying(unstable=value, success=value), **SIZES)
    vector = metarl.core.params.flatten(model.trainer.params.values())
    data = model.trainer.workers.collect(vector, 0)
    assert data["unstable"] == 2 * 3 * 2 * 6  # support and query, every row and step
    model.close()


def test_params_that_are_not_finite_are_not_exported(tmp_path, capsys):
    model = metarl.MAML("metarl/PointNavigation-v0", **SIZES)
    model.trainer.params["mean.0.weight"][0, 0] = torch.nan
    model.save(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "--steps", "0", "--to", "sb3", str(tmp_path / "ppo")]) == 2
    said = capsys.readouterr().err
    assert said == "metarl: the policy's params are not finite (mean.0.weight); cannot export it\n"
    assert not (tmp_path / "ppo.zip").exists()


def test_the_users_own_floating_point_error_keeps_its_traceback(tmp_path, capsys):
    class Divides(Line):
        def step(self, action):
            with np.errstate(all="raise"):
                return np.float64(1) / np.float64(0)

    gymnasium.register("Divides-v0", Divides, max_episode_steps=8)
    with pytest.raises(FloatingPointError, match="divide by zero") as found:
        main(["train", "Divides-v0", "--tasks", "2", "--log-dir", str(tmp_path / "run")])
    assert found.traceback[-1].name == "step" and type(found.value) is FloatingPointError
    assert not capsys.readouterr().err


@pytest.mark.parametrize("named", ["module:lacks_a_package", "lacks_a_package:Any-v0", "Lacks-v0"])
def test_an_environment_whose_package_is_not_installed(named, tmp_path, monkeypatch, capsys):
    (tmp_path / "lacks_a_package.py").write_text("import numpy\nimport no_such_physics.engine\n")
    monkeypatch.syspath_prepend(tmp_path)
    if "Lacks-v0" not in gymnasium.registry:
        gymnasium.register("Lacks-v0", "lacks_a_package:Env", max_episode_steps=8)
    arguments = ["train", named.replace("module:lacks_a_package", "lacks_a_package:Env"), "--log-dir", str(tmp_path)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "needs 'no_such_physics', which is not installed" in said and said.count("\n") == 1
    assert "lacks_a_package.py, line 2" in said


@pytest.mark.parametrize("oldest", ["learner", "no name", "no name of the outer update"])
@pytest.mark.parametrize("command", [["eval"], ["train", "point-navigation", "--resume", "--log-dir"]], ids=" ".join)
def test_a_run_of_the_oldest_format(oldest, command, tmp_path, capsys):
    path = tmp_path / "run"
    assert main([*ONE, "--log-dir", str(path)]) == 0
    record = json.loads((path / "config.json").read_text())
    method = record["config"].pop("method")
    if oldest != "no name of the outer update":
        del method["name"]
    if oldest != "no name":
        del method["outer"]["name"]
    record["config"]["learner" if oldest == "learner" else "method"] = method
    (path / "config.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert main([*command, str(path)]) == 2
    said = capsys.readouterr().err
    assert said.endswith("no method is named: a version before 0.1 began this run, which this one cannot read\n")
    assert said.count("\n") == 1


def without_privileges():
    """Have permissions count for root too: drop all capabilities of this process (see capabilities(7))."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


@pytest.fixture
def run_and_out(tmp_path):
    """A run that may only be read, and a folder to write to."""
    run, out = tmp_path / "run", tmp_path / "out"
    assert main([*ONE, "--log-dir", str(run)]) == 0
    out.mkdir()
    for file in (*run.rglob("*"), run):
        file.chmod(0o555 if file.is_dir() else 0o444)
    yield run, out
    run.chmod(0o755)
    (run / "checkpoints").chmod(0o755)


linux = pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")


@linux
@pytest.mark.parametrize(
    "arguments",
    [["eval", "RUN", "--tasks", "2", "--json", "OUT.json"], ["analyse", "RUN", "--tasks", "2", "--out", "OUT.png"]],
    ids=lambda arguments: arguments[0],
)
def test_a_run_that_may_only_be_read(arguments, run_and_out):
    run, out = run_and_out
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    paths = {"RUN": str(run), "OUT.json": str(out / "x.json"), "OUT.png": str(out / "x.png")}
    command = Command([paths.get(part, part) for part in arguments], out, without_privileges)
    assert (command.end(), command.said) == (0, "")
    assert json.loads((out / "x.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


RESUME = "train point-navigation --resume --log-dir RUN"


@linux
@pytest.mark.parametrize(
    ("command", "closed"),
    [
        ("eval RUN", "run"),
        ("eval RUN --checkpoint last", "run/checkpoints"),
        ("eval RUN", "run/config.json"),
        ("eval RUN", "run/best.safetensors"),
        ("analyse RUN --along", "run/checkpoints"),
        ("plot RUN --out OUT", "run"),
        ("plot RUN --out OUT", "run/progress.csv"),
        ("video RUN --out FILM", "run"),
        (RESUME, "run"),
        (RESUME, "run/checkpoints"),
        (RESUME, "run/config.json"),
        (RESUME, "run/progress.csv"),
    ],
)
def test_what_may_not_be_read(command, closed, run_and_out, observe):
    run, out = run_and_out
    (run.parent / closed).chmod(0)
    paths = {"RUN": str(run), "OUT": str(out / "x"), "FILM": str(out / "x.gif")}
    done = Command([paths.get(part, part) for part in command.split()], out, without_privileges)
    status = done.end()
    assert status == 2, done.said
    assert done.said.startswith("metarl: ") and done.said.count("\n") == 1, done.said
    assert str(run) in done.said and "Permission denied" in done.said
    observe(f"`{command}` where {closed} may not be read", done.said)


def with_a_shut_pipe():
    """Have a pipe that nobody reads as standard output."""
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
    sys.stdout = os.fdopen(1, "w", closefd=False)


SHUT = [f"metarl: cannot write to standard output{why}\n" for why in ("", ": Broken pipe")]


@pytest.mark.parametrize("command", ["train --help", "eval --help", "train point-navigation --help"])
def test_help_to_a_pipe_that_is_shut(command, tmp_path):
    done = Command(command.split(), tmp_path, with_a_shut_pipe)
    assert done.end() == 2 and done.said in SHUT


def test_help_of_a_new_python_to_a_pipe_that_is_shut():
    read, write = os.pipe()
    os.close(read)
    program = [sys.executable, "-c", "from metarl.cli import run; run()", "--help"]
    with subprocess.Popen(program, stdout=write, stderr=subprocess.PIPE, text=True) as run:
        os.close(write)
        said = run.stderr.read()
    assert run.returncode == 2 and said in SHUT
