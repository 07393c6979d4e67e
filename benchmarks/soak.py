"""Soak: does a long run, or making and closing environments again and again, leak memory, files, threads or processes?

    python benchmarks/soak.py --json benchmarks/results/soak.json

First a run of small meta-iterations with evaluations and checkpoints, then vector environments made,
reset, stepped and closed. A row a stage: what the process holds then.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro
from common import report

from metarl.experiment.config import Config
from metarl.experiment.directory import RunDirectory
from metarl.experiment.run import train
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML
from metarl.rl.environments import make_vec

ENVS = ("metarl/PointNavigation-v0", "metarl/HalfCheetahVel-v0", "metarl/HopperRandParams-v0")
"""Environments made and closed: without physics, with them, and with a model of its own for each row."""


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure leaks."""

    iterations: int = 2000
    """Meta-iterations of the run."""
    cycles: int = 500
    """Times that vector environments are made and closed."""
    stages: int = 10
    """Rows of each."""
    json: Path | None = None
    """Where to write."""


class Corridor(gymnasium.Env):
    """A single environment, for Gymnasium's Sync- and AsyncVectorEnv."""

    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (1,))
    action_space = gymnasium.spaces.Discrete(2)
    task_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Any:
        """Return n tasks."""
        return rng.choice([-1.0, 1.0], size=(n, 1))

    def set_task(self, task: Any) -> None:
        """Take a task."""
        self.direction = float(task[0])

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin in the middle."""
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        """Pay by direction."""
        return np.zeros(1, np.float32), self.direction * (2 * int(action) - 1), False, False, {}


def held() -> dict[str, Any]:
    """Return what this process holds: memory in MiB, open files, threads and child processes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tasks = list(Path("/proc/self/task").iterdir())
    children = sum(len((task / "children").read_text().split()) for task in tasks)
    files = len(os.listdir("/proc/self/fd")) - 1  # that of listing them
    memory = pages * os.sysconf("SC_PAGESIZE") / 2**20
    return {"memory_mib": round(memory, 1), "open_files": files, "threads": len(tasks), "children": children}


def soak_run(iterations: int, stages: int) -> Iterator[dict[str, Any]]:
    """Train, with an evaluation and a checkpoint every tenth iteration."""
    config = Config(
        ENVS[0],
        method=MAML(inner_lr=0.5),
        tasks=4,
        episodes=4,
        horizon=10,
        hidden=(8,),
        action_scale=0.1,
        eval_every=10,
        eval_tasks=3,
        eval_episodes=2,
        eval_steps=2,
        checkpoint_every=10,
    )
    with tempfile.TemporaryDirectory() as folder:
        directory, trainer = RunDirectory(Path(folder) / "run"), Trainer(config)
        directory.create(config)
        iterate, started = trainer.iterate, time.perf_counter()
        rows: list[dict[str, Any]] = []

        def watched() -> dict[str, float]:
            metrics = iterate()
            if trainer.progress.iteration % (iterations // stages) == 0:
                seconds = round(time.perf_counter() - started, 1)
                rows.append({"stage": "iterations", "done": trainer.progress.iteration, **held(), "seconds": seconds})
            return metrics

        trainer.iterate = watched  # type: ignore[method-assign]
        train(trainer, iterations, directory)
        trainer.close()
    yield from rows


def soak_envs(cycles: int, stages: int) -> Iterator[dict[str, Any]]:
    """Make, reset, step and close vector environments, one kind after another."""
    started = time.perf_counter()
    kinds = [(env, {}) for env in ENVS] + [
        (Corridor, {"vectorization": "sync"}),
        (Corridor, {"vectorization": "async"}),
    ]
    for cycle in range(cycles + 1):
        if cycle % max(cycles // stages, 1) == 0:
            yield {"stage": "environments", "done": cycle, **held(), "seconds": round(time.perf_counter() - started, 1)}
        source, options = kinds[cycle % len(kinds)]
        env = make_vec(source, 4, horizon=5, **options)
        env.set_tasks(env.sample_tasks(4, np.random.default_rng(cycle)))
        env.reset(seed=list(range(4)))
        env.step(env.action_space.sample())
        env.close()
        del env  # or it would hold its processes' pipes until the next one


def main() -> None:
    """Measure both."""
    args = tyro.cli(Args)
    rows = [*soak_run(args.iterations, args.stages), *soak_envs(args.cycles, args.stages)]
    report("what the process holds", rows, args.json)


if __name__ == "__main__":
    main()
