"""Seconds of training until the return after one gradient step is what somebody else has published.

    python benchmarks/time_to.py --json benchmarks/results/time-to.json

A run is evaluated on held-out tasks every few iterations and ends where the target is reached; the policy it ends with
is then judged on other tasks. Seconds are all that passes from the start of training to there, the evaluations
included; importing the package is not.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import tyro
from common import report

from metarl.evaluation import AdaptationCurve, Evaluation, evaluate
from metarl.experiment.presets import find_preset
from metarl.experiment.run import train
from metarl.experiment.settings import with_settings
from metarl.experiment.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a preset is to reach, and where the figure is from."""

    preset: str
    target: float
    every: int
    """Iterations between two evaluations."""
    source: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What is other than in the preset."""


GOALS = [
    Goal("point-navigation", -13.0, 5, "near the -11.7 of Finn et al. 2017"),
    Goal(
        "half-cheetah-dir",
        260.0,
        25,
        "RLlib's MAML: 145 minutes, 31 workers and a GPU",
        {"iterations": 1000},
    ),
]


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure how long training takes to a result."""

    presets: str = ",".join(goal.preset for goal in GOALS)
    """Which of the goals, by comma."""
    seeds: int = 3
    """Runs of each."""
    json: Path | None = None
    """Where to write the rows."""


class Until:
    """Ends a run at the first evaluation that reaches the target."""

    def __init__(self, target: float) -> None:
        self.target = target
        self.reached = False

    def on_evaluation(self, curve: AdaptationCurve) -> None:
        """Look at the return after one step."""
        self.reached = bool(curve.mean[1] >= self.target)

    def on_iteration(self, trainer: Trainer, metrics: dict[str, float]) -> bool:
        """End the run where it is reached."""
        return not self.reached


def measure(goal: Goal, seed: int) -> dict[str, Any]:
    """Train until the goal; returns a row."""
    judged_by = {"eval_every": goal.every, "eval_steps": 1, "eval_tasks": 20, "eval_episodes": 10}
    config = with_settings(find_preset(goal.preset), {"seed": seed, "film": False, **judged_by, **goal.settings})
    until, trainer = Until(goal.target), Trainer(config)
    started = time.perf_counter()
    train(trainer, config.iterations, callbacks=[until])
    seconds = time.perf_counter() - started
    inner_loop = trainer.build_inner_loop(held_out=True, tasks=40, episodes=20)
    judged = evaluate(inner_loop, trainer.params, Evaluation(config.title, steps=1, seed=1))
    inner_loop.close()
    trainer.close()
    return {
        "preset": goal.preset,
        "target": goal.target,
        "seed": seed,
        "reached": until.reached,
        "seconds": seconds,
        "iterations": trainer.progress.iteration,
        "env_steps": trainer.progress.env_steps,
        "return_on_other_tasks": float(judged.mean[1]),
        "source": goal.source,
        "settings": goal.settings,
    }


def main() -> None:
    """Measure and report."""
    args = tyro.cli(Args)
    load = os.getloadavg()
    goals = [goal for goal in GOALS if goal.preset in args.presets.split(",")]
    command = shlex.join(["python", "benchmarks/time_to.py", *sys.argv[1:]])
    rows = []
    for goal, seed in product(goals, range(args.seeds)):
        rows.append(measure(goal, seed))
        report("Time to a result", rows, args.json, command=command, load_average_before=load)


if __name__ == "__main__":
    main()
