"""Environments that step one at a time, in one process and in several.

    python benchmarks/processes.py --json benchmarks/results/processes.json

Three toys: a fast one of some 3 microseconds a step, one that computes for a millisecond, and one that waits for a
millisecond, as for a simulator in another program. Each is stepped in this process (`sync`), in several processes
(`async`, each with a block of rows) and by Gymnasium's AsyncVectorEnv, which has a process for each row. They take
turns; figures are medians.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro
from common import report
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv

from metarl.rl.environments import make_vec


class Toy(gymnasium.Env):
    """Moves by its action, after a while."""

    observation_space = spaces.Box(-np.inf, np.inf, (8,))
    action_space = spaces.Box(-1.0, 1.0, (2,))
    task_space = spaces.Box(-1.0, 1.0, (1,), np.float64)

    def sample_tasks(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n tasks `[n, 1]`."""
        return rng.uniform(-1, 1, (n, 1))

    def set_task(self, task: np.ndarray) -> None:
        """Take a task `[1]`."""
        self.task = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin at the origin."""
        super().reset(seed=seed)
        self.state = np.zeros(8, np.float32)
        return self.state.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move."""
        self.state[:2] += action
        return self.state.copy(), float(self.state[0]), False, False, {}


class Computes(Toy):
    """Computes for a millisecond."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move when the time is over."""
        end = time.thread_time() + 1e-3
        while time.thread_time() < end:
            pass
        return super().step(action)


class Waits(Toy):
    """Waits for a millisecond."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move when the time is over."""
        time.sleep(1e-3)
        return super().step(action)


TOYS: dict[str, type[Toy]] = {"fast": Toy, "computes for 1 ms": Computes, "waits for 1 ms": Waits}


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure steps a second."""

    rows: int = 40
    """Environments."""
    processes: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of processes."""
    steps: int = 100
    """Steps of all rows in a turn."""
    turns: int = 5
    """Turns, after one that warms up."""
    json: Path | None = None
    """Where to write the rows."""


def systems(toy: type[Toy], args: Args) -> dict[str, Callable[[], Any]]:
    """Return what makes each vector environment."""
    made: dict[str, Callable[[], Any]] = {"sync": lambda: make_vec(toy, args.rows, horizon=10**9)}
    for number in args.processes:
        made[f"async, {number}"] = lambda n=number: make_vec(
            toy, args.rows, horizon=10**9, vectorization="async", processes=n
        )
    made["a process each"] = lambda: AsyncVectorEnv([toy] * args.rows, context="forkserver")
    return made


def measure(toy: type[Toy], args: Args) -> dict[str, float]:
    """Return the steps a second of each."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (args.steps, args.rows, 2)).astype(np.float32)
    vectors = {name: make() for name, make in systems(toy, args).items()}
    found: dict[str, list[float]] = {name: [] for name in vectors}
    for _ in range(args.turns + 1):
        for name, env in vectors.items():
            env.reset(seed=0)
            started = time.perf_counter()
            for action in actions:
                env.step(action)
            found[name].append(args.steps * args.rows / (time.perf_counter() - started))
    for env in vectors.values():
        env.close()
    return {name: statistics.median(values[1:]) for name, values in found.items()}


def main() -> None:
    """Measure and report."""
    args = tyro.cli(Args)
    load = os.getloadavg()
    rows = [{"environment": name, **measure(toy, args)} for name, toy in TOYS.items()]
    command = shlex.join(["python", "benchmarks/processes.py", *sys.argv[1:]])
    title = f"Steps a second of {args.rows} environments"
    report(title, rows, args.json, command=command, load_average_before=load)


if __name__ == "__main__":
    main()
