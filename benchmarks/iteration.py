"""Whole meta-iterations against raw physics, and the memory they take, for each preset and method.

    python benchmarks/iteration.py --presets half-cheetah-vel --methods maml,promp --json FILE

Iterations take turns with as many environment steps of nothing but `Batch.step` (or of the bare step of a NumPy
family) with random actions. Figures are medians over turns, ratios are medians of the ratios within a turn: on a
machine that does other work too (its load stands in the JSON file) they alone say something. Each preset and method
runs in a process of its own, so that the peak of its memory is its own.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro
from common import draw, report

from metarl.experiment.presets import PRESETS, find_preset
from metarl.experiment.settings import with_method
from metarl.experiment.trainer import Trainer
from metarl.methods import METHODS
from metarl.rl.environments import make_vec


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure meta-iterations."""

    presets: str = ",".join(PRESETS)
    """Presets, by comma."""
    methods: str = "maml,promp,fomaml"
    """Methods, by comma, or "all"."""
    json: Path | None = None
    """Where to write the rows."""
    tasks: int | None = None
    """Tasks, if not the preset's."""
    episodes: int | None = None
    """Episodes a task, if not the preset's."""
    horizon: int | None = None
    """Steps an episode, if not the preset's."""
    turns: int = 6
    """Turns that iterations and physics get, after one that warms up."""


def measure(preset: str, method: str, args: Args) -> dict[str, float]:
    """Return what one preset and method take, in medians over the turns."""
    config = with_method(find_preset(preset), method, None)
    sizes = {name: getattr(args, name) for name in ("tasks", "episodes", "horizon") if getattr(args, name)}
    trainer = Trainer(dataclasses.replace(config, **sizes))
    trainer.iterate()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before the physics have an environment too
    physics = bare(trainer)
    turns = [turn(trainer, physics) for _ in range(args.turns + 1)][1:]
    trainer.close()
    return {name: statistics.median(t[name] for t in turns) for name in turns[0]} | {"peak_rss_mib": memory}


def turn(trainer: Trainer, physics: Callable[[int], float] | None) -> dict[str, float]:
    """Run an iteration and as many steps of physics; returns what they took."""
    before, started = trainer.progress.env_steps, time.perf_counter()
    metrics = trainer.iterate()
    whole = time.perf_counter() - started
    steps, sampling = trainer.progress.env_steps - before, metrics["time/sampling_seconds"]
    found = {"env_steps": steps, "iteration_seconds": whole, "sampling_seconds": sampling}
    found["update_seconds"] = metrics["time/meta_update_seconds"]
    if physics is None:
        return found
    bare = physics(steps)
    return found | {
        "physics_seconds": bare,
        "all_over_physics": whole / bare,
        "sampling_over_physics": sampling / bare,
    }


def bare(trainer: Trainer) -> Callable[[int], float] | None:
    """Return what makes so many steps of the training's environment without a policy, and tells the seconds.

    None where tasks are supervised, or physics come with more than a step (Meta-World).
    """
    c = trainer.config
    sampler = getattr(trainer.inner_loop, "sampler", None)
    if sampler is None or "MetaWorld" in c.title:
        return None
    rows, horizon = c.tasks * c.episodes, sampler.horizon
    env = make_vec(c.env, rows, horizon=horizon, **c.env_options)  # with all threads: the training's loops share them
    env.set_tasks(env.sample_tasks(rows, np.random.default_rng(0)))
    batch, space = getattr(env.unwrapped, "batch", None), env.single_action_space
    actions = draw(space, horizon, rows)
    if batch is not None:
        ctrl, skip = batch.bind("ctrl"), env.unwrapped.family.frame_skip

        def step(action: np.ndarray) -> None:
            ctrl[:] = action
            batch.step(nstep=skip)

        start = env.reset
    else:
        own = gymnasium.make_vec(c.title, rows, autoreset_mode="SameStep", **c.env_options)
        step, start = own.step, own.reset

    def run(steps: int) -> float:
        seconds = 0.0
        for t in range(-(-steps // rows)):
            if t % horizon == 0:
                start(seed=t)
            started = time.perf_counter()
            step(actions[t % horizon])
            seconds += time.perf_counter() - started
        return seconds

    return run


def main() -> None:
    """Measure and report."""
    args = tyro.cli(Args)
    methods = list(METHODS) if args.methods == "all" else args.methods.split(",")
    rows: list[dict[str, Any]] = []
    spawn = multiprocessing.get_context("spawn")
    load = os.getloadavg()
    for preset in args.presets.split(","):
        for method in methods:
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                found = pool.submit(measure, preset, method, args).result()
            rows.append({"preset": preset, "method": method, **found})
    seconds = {(row["preset"], row["method"]): row["iteration_seconds"] for row in rows}
    for row in rows:
        if maml := seconds.get((row["preset"], "maml")):
            row["times_maml"] = row["iteration_seconds"] / maml
    command = shlex.join(["python", "benchmarks/iteration.py", *sys.argv[1:]])
    loads = {"load_average_before": load, "load_average_after": os.getloadavg()}
    report("One meta-iteration", rows, args.json, command=command, **loads)


if __name__ == "__main__":
    main()
