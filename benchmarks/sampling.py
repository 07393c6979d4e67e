"""Environment steps a second: ours with the policy in the loop, raw physics, Gymnasium's vectors, SB3's, EnvPool.

Every system steps with actions as the initial policy draws them (normal, a tenth of the action
range). Systems take turns within each repeat; figures are medians over repeats, and the ratio to
physics is the median of the ratios within a repeat. Bodies that fall go on (where an environment can
be told so), so that all systems step the same number of simulations.

The vectors of others play the plain body of Gymnasium; navigation, bandits and tables, which nobody
else has, they play as our single environment. The column `plays` tells which.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import tyro
from common import draw, report
from metarl_envs.mujoco_family import quiet
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

from metarl.core import params as P
from metarl.rl.environments import make_vec
from metarl.rl.ids import registered
from metarl.rl.policies import make_policy
from metarl.rl.sampler import Sampler
from metarl.seeding import task_rngs

BASES = ("HalfCheetah", "Ant", "Walker2d", "Hopper", "Humanoid", "Swimmer")
"""Bodies that Gymnasium and EnvPool have too."""

FALLING = ("Ant", "Walker2d", "Hopper", "Humanoid")
"""Those whose episodes end where they fall."""


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure sampling."""

    envs: str = "metarl/PointNavigation-v0,metarl/HalfCheetahVel-v0"
    """Environments, by comma, or "all"."""
    systems: str = (
        "physics,metarl,envpool,gymnasium-sync-8,gymnasium-sync-40,gymnasium-async-8,gymnasium-async-40,sb3-subproc-8"
    )
    """Systems, by comma; any number for the 8 and the 40."""
    json: Path | None = None
    """Where to write the rows."""
    tasks: int = 40
    """Tasks."""
    episodes: int = 20
    """Episodes a task."""
    horizon: int = 100
    """Most steps an episode."""
    seconds: float = 1.5
    """About how long physics step in one turn, which bounds the episodes; other turns last half of it or more."""
    repeats: int = 3
    """Turns each system gets."""


@dataclasses.dataclass(frozen=True)
class System:
    """What steps environments."""

    step: Callable[[], tuple[int, float]]
    """Goes on for a while; returns environment steps and seconds."""
    num_envs: int
    """Simulations side by side."""
    plays: str
    """Gymnasium's id, or ours."""
    close: Callable[[], None]
    """Ends its processes."""


def repeated(play: Callable[[], int], seconds: float) -> Callable[[], tuple[int, float]]:
    """Return what plays again and again until the seconds have passed."""

    def run() -> tuple[int, float]:
        steps, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            steps += play()
        return steps, passed

    return run


def make(env_id: str, n: int, horizon: int) -> Any:
    """Make our vector environment, in which bodies that fall go on if they can be told so."""
    try:
        return make_vec(env_id, n, horizon=horizon, terminate_when_unhealthy=False)
    except ValueError:
        return make_vec(env_id, n, horizon=horizon)


def ours(env_id: str, args: Args, horizon: int) -> System:
    """The sampler, with the policy in the loop."""
    k, n = args.tasks, args.tasks * args.episodes
    env = make(env_id, n, horizon)
    policy = make_policy(env.single_observation_space, env.single_action_space, (64, 64), 0, action_scale=0.1)
    sampler = Sampler(env, policy, k, args.episodes, horizon)
    params = P.stack(P.params_of(policy), k)
    tasks = env.sample_tasks(k, np.random.default_rng(0))

    def play() -> int:
        return sampler.sample(params, tasks, task_rngs(0, 0, 0, range(k))(0)).steps

    return System(repeated(play, args.seconds / 2), n, env_id, env.close)


def physics(env_id: str, args: Args, horizon: int) -> System:
    """Nothing but `Batch.step`, or the bare step of a NumPy family, with actions drawn beforehand."""
    n = args.tasks * args.episodes
    env = make(env_id, n, horizon)
    if "MetaWorld" in env_id:
        return metaworld_physics(env, n, env_id, args)
    batch = getattr(env.unwrapped, "batch", None)
    if batch is None:
        env = gymnasium.make_vec(env_id, n, autoreset_mode="SameStep")
        return stepped(env, draw(env.single_action_space, 100, n), env_id, args.seconds)
    actions = draw(env.single_action_space, horizon, n)
    ctrl, skip = batch.bind("ctrl"), env.unwrapped.family.frame_skip

    def run() -> tuple[int, float]:
        env.reset(seed=0)
        started = time.perf_counter()
        for action in actions:
            ctrl[:] = action
            batch.step(nstep=skip)
        return n * horizon, time.perf_counter() - started

    return System(run, n, env_id, env.close)


def metaworld_physics(env: Any, n: int, plays: str, args: Args) -> System:
    """`Batch.step` of every scene, with the forward pass after it that the package makes too."""
    env.set_tasks(env.sample_tasks(n, np.random.default_rng(0)))
    env.reset()
    batches = [group.batch for group in env.unwrapped._groups.values()]

    def play() -> int:
        for batch in batches:
            batch.step(nstep=5, stage=mujoco.mjtStage.mjSTAGE_ACC.value)  # pyright: ignore[reportAttributeAccessIssue]
        return n

    return System(repeated(play, args.seconds), n, plays, env.close)


def stepped(env: Any, actions: np.ndarray, plays: str, seconds: float) -> System:
    """Any other vector environment; actions `[steps, n, ...]` are used again and again."""
    env.reset()
    coming = itertools.cycle(actions)

    def play() -> int:
        env.step(next(coming))
        return actions.shape[1]

    return System(repeated(play, seconds / 2), actions.shape[1], plays, env.close)


def other(system: str, env_id: str, args: Args) -> System | None:
    """Somebody else's vector environment of the plain body, or of our single environment; None if there is none."""
    body = next((name for name in BASES if f"/{name}" in env_id), None)
    plays = env_id if body is None else f"{body}-v5"
    meta_world = env_id == "metarl/MetaWorldML1-v0"
    if meta_world:  # the package's own environment, and EnvPool's, which draws its own goals
        plays = "MetaWorld/Reach-v3" if system == "envpool" else "metarl/MetaWorld-v0"
    options = {"terminate_when_unhealthy": False} if body in FALLING else {}
    if system == "envpool" and body is None and not meta_world:
        return None
    if system == "envpool":
        try:
            import envpool
        except ImportError:
            return None
        n = args.tasks * args.episodes
        env = envpool.make_gymnasium(plays, num_envs=n, **options)
        return stepped(env, draw(env.action_space, 100, n), plays, args.seconds)
    library, mode, number = system.split("-")
    n = int(number)
    with quiet():  # Gymnasium's half-cheetah warns at every load
        if library == "sb3":
            how = {"start_method": "fork"}  # as in Gymnasium; from a fork server each would import everything anew
            env = make_vec_env(plays, n, vec_env_cls=SubprocVecEnv, vec_env_kwargs=how, env_kwargs=options)
            return stepped(env, draw(env.action_space, 100, n), plays, args.seconds)
        env = gymnasium.make_vec(plays, n, vectorization_mode=mode, **options)
    return stepped(env, draw(env.single_action_space, 100, n), plays, args.seconds)


def fitting_horizon(env_id: str, args: Args) -> int:
    """Return how long an episode is so that a turn of physics takes about `seconds`."""
    limit = min(args.horizon, registered()[env_id].max_episode_steps or args.horizon)
    if limit < 10:
        return limit
    steps, seconds = physics(env_id, args, 5).step()
    return int(np.clip(args.seconds * steps / seconds / (args.tasks * args.episodes), 10, limit))


def measure(env_id: str, args: Args) -> list[dict[str, Any]]:
    """Return the rows of one environment."""
    horizon = fitting_horizon(env_id, args)
    systems: dict[str, System] = {}
    for name in args.systems.split(","):
        if name in ("physics", "metarl"):
            systems[name] = (physics if name == "physics" else ours)(env_id, args, horizon)
        elif (found := other(name, env_id, args)) is not None:
            systems[name] = found
    speeds: dict[str, list[float]] = {name: [] for name in systems}
    for repeat in range(args.repeats + 1):
        for name, system in systems.items():
            steps, seconds = system.step()
            if repeat:  # the first round warms up
                speeds[name].append(steps / seconds)
    rows = []
    for name, system in systems.items():
        system.close()
        row = {"env": env_id, "system": name, "num_envs": system.num_envs, "plays": system.plays}
        row["steps_per_second"] = statistics.median(speeds[name])
        if "physics" in systems:
            ratios = [a / b for a, b in zip(speeds[name], speeds["physics"], strict=True)]
            row["ratio_to_physics"] = statistics.median(ratios)
        rows.append(row)
    return rows


def main() -> None:
    """Measure and report."""
    args = tyro.cli(Args)
    env_ids = registered() if args.envs == "all" else args.envs.split(",")
    report("Sampling", [row for env_id in env_ids for row in measure(env_id, args)], args.json)


if __name__ == "__main__":
    main()
