"""Steps a second with the policy in the loop against the number of simulations and of physics threads."""

from __future__ import annotations

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np
import tyro
from common import report
from matplotlib.figure import Figure

from metarl.core import params as P
from metarl.rl.environments import make_vec
from metarl.rl.policies import make_policy
from metarl.rl.sampler import Sampler
from metarl.seeding import task_rngs


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure throughput."""

    env: str = "metarl/HalfCheetahVel-v0"
    """Environment."""
    sizes: tuple[int, ...] = (20, 50, 100, 200, 500, 1000, 2000)
    """Numbers of simulations."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of physics threads."""
    steps: int = 40_000
    """Environment steps a turn, about."""
    repeats: int = 3
    """Turns."""
    json: Path | None = None
    """Where to write the rows."""
    picture: Path | None = None
    """Where to write the figure."""


def sampling(args: Args, size: int, threads: int):
    """Return what plays one batch and how many steps a second it made."""
    horizon = max(args.steps // size, 5)
    env = make_vec(args.env, size, horizon=horizon, nthread=threads)
    policy = make_policy(env.single_observation_space, env.single_action_space, (64, 64), 0, action_scale=0.1)
    tasks = max(size // 20, 1)
    sampler = Sampler(env, policy, tasks, size // tasks, horizon)
    params, rngs = P.stack(P.params_of(policy), tasks), task_rngs(0, 0, 0, range(tasks))
    drawn = env.sample_tasks(tasks, np.random.default_rng(0))

    def run() -> float:
        started = time.perf_counter()
        return sampler.sample(params, drawn, rngs(0)).steps / (time.perf_counter() - started)

    return run


def main() -> None:
    """Measure, report, draw."""
    args = tyro.cli(Args)
    runs = {(n, k): sampling(args, n, k) for n in args.sizes for k in args.threads}
    speeds: dict[tuple[int, int], list[float]] = {key: [] for key in runs}
    for repeat in range(args.repeats + 1):
        for key, run in runs.items():
            speed = run()
            if repeat:
                speeds[key].append(speed)
    rows = [
        {"env": args.env, "num_envs": n, "threads": k, "steps_per_second": statistics.median(speeds[n, k])}
        for n, k in runs
    ]
    report("Throughput", rows, args.json)
    if args.picture is not None:
        figure = Figure(figsize=(5, 3.5), layout="constrained")
        axis = figure.subplots()
        for k in args.threads:
            axis.plot(args.sizes, [statistics.median(speeds[n, k]) for n in args.sizes], "o-", label=f"{k} threads")
        axis.set(xscale="log", ylim=(0, None), title=args.env)
        axis.set(xlabel="simulations", ylabel="environment steps a second")
        axis.legend(frameon=False)
        figure.savefig(args.picture, dpi=120)


if __name__ == "__main__":
    main()
