"""Whether an environment is the task distribution that meta-learning takes it for."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from metarl.errors import UserError, check_counts, warn
from metarl.rl.environments import make_single
from metarl.rl.ids import EnvSource
from metarl.rl.policies import actions_of, observation_size
from metarl.rl.task_slot import TaskSlot
from metarl.seeding import Split, sample_split

TASKS = 8
"""Tasks that are drawn, and played two by two."""

SHORT = 60
"""Letters of a value in a message."""

Steps = tuple[NDArray[Any], NDArray[Any]]
"""Observations and rewards of an episode."""


def check_env(env: EnvSource | gymnasium.Env, *, steps: int = 50, seed: int = 0, **options: Any) -> None:
    """Play a few episodes, and refuse an environment that training would take without its being a task distribution.

    Tasks must be drawn by the given generator alone, and lie in `task_space`; the same task, seed and actions must give
    the same episode, whatever was played before and however often it is reset; rewards must be finite, and observations
    in the space said. Where no two tasks differ in an observation or a reward, it warns.

    Args:
        env: A Gymnasium id, a class or a function that returns an environment, or an environment.
        steps: Longest episode that is played, in steps.
        seed: Chooses tasks, starts and actions.
        **options: Keyword arguments of the environment.

    Raises:
        UserError: With the first thing that is wrong, and what is expected.
    """
    check_counts(steps=(steps, 1), seed=(seed, 0))
    if isinstance(env, gymnasium.Env) and options:
        raise UserError(f"an environment is made already, and takes no options such as {next(iter(options))}")
    made = TaskSlot(make_single((lambda: env) if isinstance(env, gymnasium.Env) else env, None, options))
    before_all = np.random.get_state()  # noqa: NPY002
    try:
        observation_size(made.observation_space)
        actions_of(made.action_space)
        for split in ("validation", "test"):
            _drawn(made, seed, split)
        tasks = _drawn(made, seed, "train")
        made.action_space.seed(seed)
        actions = [made.action_space.sample() for _ in range(steps)]
        played = [_played(made, task, actions, seed) for task in tasks]
        for task, before in zip(tasks, played, strict=True):
            np.random.seed(seed + 1)  # noqa: NPY002 - for those who draw from it
            made.reset(seed=seed + 1)
            if not _same(before, _played(made, task, actions, seed)):
                raise UserError(
                    f"task {task.tolist()} does not play the same again with the same seed and actions: all randomness "
                    "must come from the generator that reset(seed=...) seeds (self.np_random), and set_task must set "
                    "everything that another task may have changed"
                )
        if all(_same(played[0], other) for other in played[1:]):
            warn(
                f"{len(tasks)} tasks play the same, with random actions for {len(played[0][1])} steps: unless rewards "
                "are that sparse, set_task does not change what is rewarded or what happens, or reset undoes it"
            )
    finally:
        np.random.set_state(before_all)  # noqa: NPY002
        if made.env is not env:  # a user's own stays open
            made.close()


def _drawn(env: gymnasium.Env, seed: int, split: Split) -> NDArray[np.float64]:
    """Return tasks `[n, d]` of a set, drawn twice."""
    own, space = env.get_wrapper_attr("sample_tasks"), env.get_wrapper_attr("task_space")

    def sample(n: int, rng: np.random.Generator) -> Any:
        return sample_split(own, n, rng, split)

    np.random.seed(seed)  # noqa: NPY002
    drawn = sample(TASKS, np.random.default_rng(seed))
    try:
        first = np.asarray(drawn, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"sample_tasks(n, rng) must return numbers, an array [n, d]; it returned {drawn!r}") from error
    np.random.seed(seed + 1)  # noqa: NPY002
    if first.ndim != 2 or len(first) != TASKS:
        raise UserError(f"sample_tasks(n, rng) must return n tasks, an array [n, d]; of 8 it returned {first.shape}")
    if not np.isfinite(first).all():
        broken = next(task for task in first if not np.isfinite(task).all())
        raise UserError(f"sample_tasks(n, rng) must return finite numbers, got {_short(broken.tolist())}")
    if not np.array_equal(first, sample(TASKS, np.random.default_rng(seed))):
        raise UserError("sample_tasks(n, rng) must draw with rng alone: the same generator gave other tasks")
    for task in first:
        if isinstance(space, spaces.Box) and not space.contains(task.astype(space.dtype)):
            raise UserError(f"sample_tasks drew {task.tolist()}, which is not in task_space {space}")
    return first


def _played(env: TaskSlot, task: NDArray[np.float64], actions: list[Any], seed: int) -> Steps:
    """Return an episode of a task; the second after its start, as the task must outlive a reset."""
    env.current_task = task
    env.reset(seed=seed + 2)
    observation, _ = env.reset(seed=seed)
    observations, rewards = [copy.deepcopy(observation)], []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(copy.deepcopy(observation))  # which may be the same array in every step
        rewards.append(reward)
        if terminated or truncated:
            break
    for seen in observations:
        if not env.observation_space.contains(seen):
            kind = f"{seen.dtype} {seen.shape}" if isinstance(seen, np.ndarray) else type(seen).__name__
            raise UserError(
                f"task {task.tolist()} shows {kind} {_short(seen)}, which is not in {env.observation_space}"
            )
    if not np.isfinite(rewards).all():
        step = int(np.flatnonzero(~np.isfinite(rewards))[0])
        raise UserError(f"task {task.tolist()} has a reward that is not finite: {rewards[step]} at step {step}")
    return np.asarray(observations), np.asarray(rewards)


def _short(value: Any) -> str:
    """Return a value as the beginning of a line says it."""
    text = " ".join(str(value).split())
    return text if len(text) <= SHORT else f"{text[:SHORT]}..."


def _same(one: Steps, other: Steps) -> bool:
    """Return whether two episodes are the same to the bit."""
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
