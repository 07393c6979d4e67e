"""Environment steps a second: ours with the policy in the loop, raw physics, Gymnasium's vectors, EnvPool.

Every system steps with actions as the initial policy draws them (normal, a tenth of the action
range). Systems take turns within each repeat; figures are medians over repeats, and the ratio to
physics is the median of the ratios within a repeat.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import tyro
from common import report
from metarl_envs.mujoco_envs import quiet

from metarl.core import params as P
from metarl.players import task_seeds
from metarl.rl.make import make_vec
from metarl.rl.policies import make_policy
from metarl.rl.sampler import Sampler

BASES = {"metarl/HalfCheetahVel-v0": "HalfCheetah-v5", "metarl/HalfCheetahDir-v0": "HalfCheetah-v5"}
"""The plain Gymnasium environment behind each MuJoCo family, which others can run."""


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure sampling."""

    envs: str = "metarl/PointNavigation-v0,metarl/HalfCheetahVel-v0"
    """Environments, by comma."""
    json: Path | None = None
    """Where to write the rows."""
    tasks: int = 40
    """Tasks."""
    episodes: int = 20
    """Episodes a task."""
    horizon: int = 100
    """Steps an episode."""
    repeats: int = 5
    """Turns each system gets."""


System = Callable[[], tuple[int, float]]
"""Runs once; returns environment steps and seconds."""


def ours(env_id: str, args: Args) -> System:
    """The sampler: policy, masks, advantages left out."""
    env = make_vec(env_id, args.tasks * args.episodes, horizon=args.horizon)
    policy = make_policy(env.single_observation_space, env.single_action_space, (64, 64), 0, action_scale=0.1)
    sampler = Sampler(env, policy, args.tasks, args.episodes, args.horizon)
    params = P.stack(P.params_of(policy), args.tasks)
    tasks = env.sample_tasks(args.tasks, np.random.default_rng(0))

    def run() -> tuple[int, float]:
        started = time.perf_counter()
        episodes = sampler.sample(params, tasks, task_seeds(0, 0, 0, range(args.tasks))(0))
        return episodes.steps, time.perf_counter() - started

    return run


def physics(env_id: str, args: Args) -> System:
    """Nothing but `Batch.step`, or the whole step of a NumPy family, with actions drawn beforehand."""
    n = args.tasks * args.episodes
    env = make_vec(env_id, n, horizon=args.horizon)
    actions = _actions(env.single_action_space, args.horizon, n)
    batch = getattr(env.unwrapped, "batch", None)

    def run() -> tuple[int, float]:
        env.reset(seed=0)
        started = time.perf_counter()
        if batch is None:
            for action in actions:
                env.step(action)
        else:
            ctrl, skip = batch.bind("ctrl"), env.unwrapped.family.frame_skip
            for action in actions:
                ctrl[:] = action
                batch.step(nstep=skip)
        return n * args.horizon, time.perf_counter() - started

    return run


def gymnasium_vector(env_id: str, args: Args, mode: str, n: int = 8) -> System:
    """Gymnasium's own vector environments on its own environment, or on our single one."""
    with quiet():  # Gymnasium's half-cheetah warns at every load
        env = gymnasium.make_vec(BASES.get(env_id, env_id), n, vectorization_mode=mode)
    actions = _actions(env.single_action_space, args.horizon, n)

    def run() -> tuple[int, float]:
        env.reset(seed=0)
        started = time.perf_counter()
        for action in actions:
            env.step(action)
        return n * args.horizon, time.perf_counter() - started

    return run


def envpool(env_id: str, args: Args) -> System | None:
    """EnvPool's plain environment with as many simulations as ours, if it is installed and has it."""
    if env_id not in BASES:
        return None
    try:
        import envpool
    except ImportError:
        return None
    n = args.tasks * args.episodes
    known = envpool.list_all_envs()
    base = BASES[env_id]
    name = base if base in known else base.replace("v5", "v4")
    env = envpool.make_gymnasium(name, num_envs=n)
    actions = _actions(env.action_space, args.horizon, n)

    def run() -> tuple[int, float]:
        env.reset()
        started = time.perf_counter()
        for action in actions:
            env.step(action)
        return n * args.horizon, time.perf_counter() - started

    return run


def _actions(space: gymnasium.spaces.Box, steps: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(0.1 * rng.standard_normal((steps, n, *space.shape)), space.low, space.high).astype(space.dtype)


def main() -> None:
    args = tyro.cli(Args)
    rows = []
    for env_id in args.envs.split(","):
        n = args.tasks * args.episodes
        systems: dict[str, tuple[System | None, int]] = {
            "physics": (physics(env_id, args), n),
            "metarl": (ours(env_id, args), n),
            "envpool": (envpool(env_id, args), n),
            "gymnasium-sync-8": (gymnasium_vector(env_id, args, "sync"), 8),
            "gymnasium-async-8": (gymnasium_vector(env_id, args, "async"), 8),
        }
        speeds: dict[str, list[float]] = {name: [] for name, (system, _) in systems.items() if system}
        for repeat in range(args.repeats + 1):
            for name in speeds:
                steps, seconds = systems[name][0]()
                if repeat:  # the first round warms up
                    speeds[name].append(steps / seconds)
        for name, measured in speeds.items():
            ratios = [a / b for a, b in zip(measured, speeds["physics"], strict=True)]
            rows.append(
                {
                    "env": env_id,
                    "system": name,
                    "num_envs": systems[name][1],
                    "steps_per_second": statistics.median(measured),
                    "ratio_to_physics": statistics.median(ratios),
                }
            )
    report("Sampling", rows, args.json)


if __name__ == "__main__":
    main()
