"""Environment steps a second: ours with the policy in the loop, raw physics, Gymnasium's vectors, EnvPool.

Every system steps with actions as the initial policy draws them (normal, a tenth of the action
range). Systems take turns within each repeat; figures are medians over repeats, and the ratio to
physics is the median of the ratios within a repeat. Bodies that fall go on (where a family can be
told so), so that all systems step the same number of simulations.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro
from common import report
from metarl_envs.mujoco_family import quiet
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

from metarl.core import params as P
from metarl.players import task_seeds
from metarl.rl.make import make_vec, registered
from metarl.rl.policies import make_policy
from metarl.rl.sampler import Sampler

BASES = ("HalfCheetah", "Ant", "Walker2d", "Hopper", "Humanoid", "Swimmer")
"""Bodies that Gymnasium and EnvPool have too."""


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure sampling."""

    envs: str = "metarl/PointNavigation-v0,metarl/HalfCheetahVel-v0"
    """Environments, by comma, or "all"."""
    systems: str = "physics,metarl,envpool,gymnasium-sync-8,gymnasium-async-8"
    """Systems, by comma; besides these sb3-subproc-N, and any number for the 8."""
    json: Path | None = None
    """Where to write the rows."""
    tasks: int = 40
    """Tasks."""
    episodes: int = 20
    """Episodes a task."""
    horizon: int = 100
    """Most steps an episode."""
    seconds: float = 1.5
    """About how long a system steps in one turn; slow physics get shorter episodes."""
    repeats: int = 5
    """Turns each system gets."""


System = Callable[[], tuple[int, float]]
"""Runs once; returns environment steps and seconds."""


def make(env_id: str, n: int, horizon: int) -> Any:
    """Make our vector environment, in which bodies that fall go on if they can be told so."""
    try:
        return make_vec(env_id, n, horizon=horizon, terminate_when_unhealthy=False)
    except ValueError:
        return make_vec(env_id, n, horizon=horizon)


def ours(env_id: str, n_tasks: int, episodes: int, horizon: int) -> System:
    """The sampler, with the policy in the loop."""
    env = make(env_id, n_tasks * episodes, horizon)
    policy = make_policy(env.single_observation_space, env.single_action_space, (64, 64), 0, action_scale=0.1)
    sampler = Sampler(env, policy, n_tasks, episodes, horizon)
    params = P.stack(P.params_of(policy), n_tasks)
    tasks = env.sample_tasks(n_tasks, np.random.default_rng(0))

    def run() -> tuple[int, float]:
        started = time.perf_counter()
        played = sampler.sample(params, tasks, task_seeds(0, 0, 0, range(n_tasks))(0))
        return played.steps, time.perf_counter() - started

    return run


def physics(env_id: str, n: int, horizon: int) -> System:
    """Nothing but `Batch.step`, or the bare step of a NumPy family, with actions drawn beforehand."""
    env = make(env_id, n, horizon)
    batch = getattr(env.unwrapped, "batch", None)
    if batch is None:
        env = gymnasium.make_vec(env_id, n, autoreset_mode="SameStep")
        return stepped(env, list(draw(env.single_action_space, 100, n)), n)
    actions = draw(env.single_action_space, horizon, n)
    ctrl, skip = batch.bind("ctrl"), env.unwrapped.family.frame_skip

    def run() -> tuple[int, float]:
        env.reset(seed=0)
        started = time.perf_counter()
        for action in actions:
            ctrl[:] = action
            batch.step(nstep=skip)
        return n * horizon, time.perf_counter() - started

    return run


def stepped(env: Any, actions: Sequence[np.ndarray], n: int) -> System:
    """Any other vector environment."""

    def run() -> tuple[int, float]:
        env.reset()
        started = time.perf_counter()
        for action in actions:
            env.step(action)
        return n * len(actions), time.perf_counter() - started

    return run


def other(system: str, env_id: str, n: int, horizon: int) -> tuple[System, int] | None:
    """Somebody else's vector environment of the plain body, or of our single environment; None if there is none."""
    base = next((f"{body}-v5" for body in BASES if f"/{body}" in env_id), None)
    if system == "envpool":
        try:
            import envpool
        except ImportError:
            return None
        if base is None:
            return None
        known = base if base in envpool.list_all_envs() else base.replace("v5", "v4")
        env = envpool.make_gymnasium(known, num_envs=n)
        return stepped(env, list(draw(env.action_space, horizon, n)), n), n
    library, mode, number = system.split("-")
    n = int(number)
    with quiet():  # Gymnasium's half-cheetah warns at every load
        if library == "sb3":
            env = make_vec_env(base or env_id, n, vec_env_cls=SubprocVecEnv)
            return stepped(env, list(draw(env.action_space, horizon, n)), n), n
        env = gymnasium.make_vec(base or env_id, n, vectorization_mode=mode)
    return stepped(env, list(draw(env.single_action_space, horizon, n)), n), n


def draw(space: gymnasium.Space, steps: int, n: int) -> np.ndarray:
    """Draw actions `[steps, n, ...]`."""
    rng = np.random.default_rng(0)
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=(steps, n))
    assert isinstance(space, gymnasium.spaces.Box)
    noise = 0.1 * rng.standard_normal((steps, n, *space.shape))
    return np.clip(noise, space.low, space.high).astype(space.dtype)


def fitting_horizon(env_id: str, args: Args) -> int:
    """Return how long an episode is so that a turn takes about `seconds`."""
    limit = min(args.horizon, registered()[env_id].max_episode_steps or args.horizon)
    if limit < 10:
        return limit
    steps, seconds = physics(env_id, args.tasks * args.episodes, 5)()
    return int(np.clip(args.seconds * steps / seconds / (args.tasks * args.episodes), 10, limit))


def measure(env_id: str, args: Args) -> list[dict[str, Any]]:
    """Return the rows of one environment."""
    n, horizon = args.tasks * args.episodes, fitting_horizon(env_id, args)
    systems: dict[str, tuple[System, int]] = {}
    for name in args.systems.split(","):
        if name == "physics":
            systems[name] = physics(env_id, n, horizon), n
        elif name == "metarl":
            systems[name] = ours(env_id, args.tasks, args.episodes, horizon), n
        elif (found := other(name, env_id, n, horizon)) is not None:
            systems[name] = found
    speeds: dict[str, list[float]] = {name: [] for name in systems}
    for repeat in range(args.repeats + 1):
        for name, (system, _) in systems.items():
            steps, seconds = system()
            if repeat:  # the first round warms up
                speeds[name].append(steps / seconds)
    rows = []
    for name, measured in speeds.items():
        ratios = [a / b for a, b in zip(measured, speeds["physics"], strict=True)]
        speed, ratio = statistics.median(measured), statistics.median(ratios)
        row = {"env": env_id, "system": name, "num_envs": systems[name][1]}
        rows.append(row | {"steps_per_second": speed, "ratio_to_physics": ratio})
    return rows


def main() -> None:
    """Measure and report."""
    args = tyro.cli(Args)
    names = list(registered()) if args.envs == "all" else args.envs.split(",")
    report("Sampling", [row for env_id in names for row in measure(env_id, args)], args.json)


if __name__ == "__main__":
    main()
