"""Other people's environments, methods, networks and callbacks on the command line, in a folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from processes import Command

from metarl.cli.main import main

CORRIDOR = '''
import gymnasium, numpy as np, torch
from dataclasses import dataclass
from gymnasium import spaces
import metarl
from metarl.methods import MAML


class Corridor(gymnasium.Env):
    """Walk to the end that the task names."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    task_space = spaces.Box(-1.0, 1.0, (1,))

    def sample_tasks(self, n, rng):
        return rng.choice([-1.0, 1.0], (n, 1))

    def set_task(self, task):
        self.task = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = np.zeros(1, np.float32)
        return self.x, {}

    def step(self, action):
        self.x = np.clip(self.x + 0.2 * action, -1, 1).astype(np.float32)
        return self.x, float(self.x[0] * self.task[0]), False, False, {}


gymnasium.register("Corridor-v0", Corridor, max_episode_steps=8)


@dataclass(frozen=True)
class Slow(MAML):
    """MAML whose step is divided."""

    divisor: float = 2.0
    """What divides it."""

    def inner_step(self, loss, adapted, support, scale=1.0, *, create_graph=False):
        return super().inner_step(loss, adapted, support, scale / self.divisor, create_graph=create_graph)


class Net(torch.nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(n_in, 8), torch.nn.LayerNorm(8), torch.nn.ReLU())
        self.head = torch.nn.Linear(8, n_out)
        self.log_std = torch.nn.Parameter(torch.zeros(n_out))

    def forward(self, obs):
        return metarl.Gaussian(self.head(self.body(obs)), self.log_std[None])


def make_net(observation_space, action_space, generator):
    return Net(observation_space.shape[0], action_space.shape[0])


def mean_baseline(episodes, returns):
    return returns.mean((1, 2), keepdim=True).expand_as(returns)


def say(trainer, metrics):
    print(f"said {trainer.progress.iteration}")
    return trainer.progress.iteration < 2
'''
SMALL = "--tasks 2 --episodes 2 --hidden 8 --eval-tasks 2 --eval-episodes 2 --iterations 3".split()


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "corridor.py").write_text(CORRIDOR)
    return tmp_path


def metarl(folder: Path, *args: str) -> Command:
    """Run `metarl ARGS` in a process of its own, whose current folder this is."""
    done = Command(list(args), Path(tempfile.mkdtemp(dir=folder)), partial(os.chdir, folder))
    done.end()
    return done


def test_an_environment_from_the_current_folder(folder):
    done = metarl(folder, "train", "corridor:Corridor-v0", *SMALL, "--log-dir", "run")
    assert done.end() == 0, done.said
    told = done.out.read_text()
    assert "iteration 3/3" in told and "metarl eval run --import corridor\n" in told
    assert json.loads((folder / "run" / "config.json").read_text())["config"]["env"] == "corridor:Corridor-v0"
    refused = metarl(folder, "eval", "run", "--tasks", "2", "--episodes", "2")
    assert refused.end() == 2 and refused.said.count("\n") == 1
    assert "--import corridor" in refused.said
    program = [sys.executable, "-c", "from metarl.cli import run; run()", "eval", "run", "--import", "corridor"]
    judged = subprocess.run([*program, "--tasks", "2", "--episodes", "2"], cwd=folder, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stderr
    unseen = metarl(folder, "video", "run", "--import", "corridor")  # it has no render_mode
    assert unseen.end() == 2 and unseen.said.count("\n") == 1
    assert "draws no pictures" in unseen.said and "render_mode='rgb_array'" in unseen.said


def test_several_seeds_say_how_all_of_them_are_evaluated(folder):
    own = ["corridor:Corridor-v0", "--method", "corridor:Slow", *SMALL]
    done = metarl(folder, "train", *own, "--seeds", "1", "--log-dir", "runs")
    assert done.end() == 0, done.said
    assert "metarl eval runs --import corridor\n" in done.out.read_text()
    judged = metarl(folder, "eval", "runs", "--import", "corridor", "--tasks", "2", "--episodes", "2")
    assert judged.end() == 0, judged.said


def test_every_door_at_once_and_the_same_command_with_resume(folder):
    own = "--method corridor:Slow --divisor 4 --inner-lr 0.2 --policy corridor:make_net".split()
    own += "--baseline corridor:mean_baseline --callback corridor:say".split()
    command = ["train", "corridor:Corridor-v0", *own, *SMALL, "--log-dir", "run"]
    done = metarl(folder, *command)
    assert done.end() == 0, done.said
    told = done.out.read_text()
    assert "said 2" in told and "said 3" not in told  # the callback stops it
    config = json.loads((folder / "run" / "config.json").read_text())["config"]
    assert config["method"]["name"] == "corridor:Slow" and config["method"]["divisor"] == 4
    assert config["method"]["inner_lr"] == 0.2 and config["policy"] == "corridor:make_net"
    again = metarl(folder, *command, "--resume")
    assert again.end() == 0, again.said
    assert "said 3" in again.out.read_text()
    typed = metarl(folder, "train", "corridor:Corridor-v0", "--log-dir", "run", "--resume", "--iterations", "4")
    assert typed.end() == 0, typed.said  # options not given are the run's, and the module was typed
    assert "iteration 4/4" in typed.out.read_text()


def test_any_of_our_environments_without_a_preset(folder):
    small = [*SMALL, "--horizon", "5", "--iterations", "1"]
    done = metarl(folder, "train", "metarl/Walker2dVel-v0", *small)
    assert done.end() == 0, done.said
    told = done.out.read_text()
    assert "Walker2dVel-v0: metarl/Walker2dVel-v0, 1 meta-iterations, writing to runs/Walker2dVel-v0/" in told


MISTAKES = [
    (["nowhere:Corridor-v0"], "there is no module 'nowhere'"),
    (["corridor:Coridor-v0"], "Coridor"),
    (["corridor:Corridor-v0", "--method", "corridor:Slo"], "'corridor' has no 'Slo'; did you mean 'Slow'?"),
    (["corridor:Corridor-v0", "--policy", "corridor:mak_net"], "did you mean 'make_net'?"),
    (["corridor:Corridor-v0", "--method", "corridor:Slow", "--divisr", "2"], "did you mean '--divisor'?"),
    (["point-navigation", "--baseline", "lin"], "unknown baseline 'lin'; did you mean 'linear'?"),
    (["metarl/Walker2dVl-v0"], "did you mean 'metarl/Walker2dVel-v0'?"),
]


def make_mistakes(folder, mistakes):
    os.chdir(folder)
    for args in mistakes:
        assert main(["train", *args, *SMALL]) == 2


def test_mistakes_are_one_line(folder):
    *mistakes, last = [args for args, _ in MISTAKES]
    done = Command(["train", *last, *SMALL], folder, partial(make_mistakes, folder, mistakes))
    assert done.end() == 2, done.said
    for (_, words), said in zip(MISTAKES, done.said.splitlines(), strict=True):
        assert words in said


TINY = [*SMALL[:4], "--eval-tasks", "2", "--eval-episodes", "2", "--iterations", "1"]


def test_a_search_over_an_environment_and_a_method_and_a_training_of_the_best(folder):
    pytest.importorskip("optuna")
    method = ["--method", "corridor:Slow", "--search", "divisor=1:3", "--search", "tasks=2:3"]
    done = metarl(folder, "tune", "corridor:Corridor-v0", *method, "--iterations", "1", "--trials", "2")
    assert done.end() == 0, done.said
    told = done.out.read_text()
    assert "train with it: metarl train best.json --import corridor\n" in told
    best = json.loads((folder / "best.json").read_text())
    assert best["env"] == "corridor:Corridor-v0" and best["method"] == "corridor:Slow" and best["tasks"] in (2, 3)
    refused = metarl(folder, "train", "best.json", *TINY)
    assert refused.end() == 2 and refused.said.count("\n") == 1 and "--import corridor" in refused.said
    trained = metarl(folder, "train", "best.json", "--import", "corridor", *TINY, "--log-dir", "run")
    assert trained.end() == 0, trained.said
    config = json.loads((folder / "run" / "config.json").read_text())["config"]
    assert config["method"]["name"] == "corridor:Slow" and config["method"]["divisor"] == best["divisor"]
    again = metarl(folder, "train", "run/config.json", "--import", "corridor", "--seed", "1", "--log-dir", "again")
    assert again.end() == 0, again.said  # a run's own settings are a preset, whatever method it had


def test_a_benchmark_of_methods_and_baselines_in_an_environment(folder):
    methods = ["--methods", "maml,corridor:Slow,random,pretrained,oracle", "--seeds", "1", "--budget", "500"]
    done = metarl(folder, "benchmark", "corridor:Corridor-v0", *methods)
    assert done.end() == 0, done.said
    out = folder / "runs" / "benchmark-Corridor-v0"
    assert set(json.loads((out / "results.json").read_text())["methods"]) == {
        *("maml", "Slow", "random", "pretrained", "oracle")
    }
    assert json.loads((out / "Slow-seed0" / "config.json").read_text())["config"]["method"]["name"] == "corridor:Slow"
    again = metarl(folder, "benchmark", "corridor:Corridor-v0", *methods)  # what is there is not done again
    assert again.end() == 0 and "500 environment steps" not in again.out.read_text()


def test_two_methods_of_one_name_and_a_result_of_another_class_are_told_apart(folder):
    (folder / "other.py").write_text("import corridor\n\n\nclass Slow(corridor.Slow):\n    pass\n")
    budget = ["--seeds", "1", "--budget", "100", "--out", "out"]
    both = metarl(folder, "benchmark", "corridor:Corridor-v0", "--methods", "corridor:Slow,other:Slow", *budget)
    assert both.end() == 0, both.said
    both = json.loads((folder / "out" / "results.json").read_text())
    assert list(both["methods"]) == ["corridor.Slow", "other.Slow"]
    twice = metarl(folder, "benchmark", "corridor:Corridor-v0", "--methods", "corridor:Slow,corridor:Slow", *budget)
    assert twice.end() == 2 and "each method once, got corridor.Slow, corridor.Slow" in twice.said
    done = metarl(folder, "benchmark", "corridor:Corridor-v0", "--methods", "corridor:Slow", *budget)
    assert done.end() == 0, done.said
    other = metarl(folder, "benchmark", "corridor:Corridor-v0", "--methods", "other:Slow", *budget)
    assert other.end() == 2 and "another preset (method.name: 'corridor:Slow' -> 'other:Slow')" in other.said
    (folder / "out" / "Slow-seed0" / "result.json").unlink()  # begun, and not finished
    other = metarl(folder, "benchmark", "corridor:Corridor-v0", "--methods", "other:Slow", *budget)
    assert other.end() == 2 and "holds a run of corridor:Slow; choose another --out" in other.said


def test_an_object_is_no_environment(folder):
    with open(folder / "corridor.py", "a") as file:
        file.write("\n\nmade = Corridor()\n")
    done = metarl(folder, "train", "corridor:made", "--horizon", "5", *SMALL)
    assert done.end() == 2 and "env takes an id, a class or a function that returns an environment" in done.said


def test_a_name_does_not_lead_through_other_modules(folder):
    (folder / "odd.toml").write_text('env = "corridor:torch.os.getcwd"\n')
    done = metarl(folder, "train", "odd.toml", "--import", "corridor", *SMALL)
    assert done.end() == 2 and "'corridor' has no 'torch.os.getcwd'" in done.said
