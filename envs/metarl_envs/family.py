"""A task-distribution family: task, start, observation, reward and ends, written once on arrays."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

Array = NDArray[np.float64]

Split = Literal["train", "validation", "test"]
"""Which set of tasks, where they are fixed: to learn from, to choose a run's best params by, or to judge them by."""

EnvType = TypeVar("EnvType")


class Family(ABC):
    """What the single and the vectorised environment of one family share.

    A state is a flat row: whatever the family simulates, or `qpos` and `qvel` side by side for
    MuJoCo families. Methods work on N rows at once, so one definition serves one environment (N = 1)
    and thousands.

    Attributes:
        observation_space: Space of one observation `[o]`; it does not contain the task.
        action_space: Space of one action `[a]`.
        task_space: Space of one task `[d]`, against which tasks are validated.
    """

    observation_space: Space
    action_space: Space
    task_space: spaces.Box

    @property
    def name(self) -> str:
        """Name of the family in messages."""
        return type(self).__name__

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n tasks, `[n, d]`; by default as the task space draws them, a `Box` of floats uniformly.

        A family with fixed sets takes a `split` besides.

        Raises:
            ValueError: If the task space is neither such a `Box` with bounds nor draws.
        """
        space: Any = self.task_space
        if hasattr(space, "draw"):
            return space.draw(n, rng)
        if not (isinstance(space, spaces.Box) and space.dtype == np.float64 and space.is_bounded()):
            raise ValueError(f"{self.name}: its task space {space} is no Box of float64 with bounds; give sample_tasks")
        return rng.uniform(space.low, space.high, size=(n, *space.shape))

    @abstractmethod
    def observe(self, state: Array) -> Array:
        """Return the observations `[N, o]` of the states `[N, s]`, as a new array."""

    @abstractmethod
    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the named terms `[N]` whose sum is the reward; they also appear in `info`."""

    def reward(self, terms: dict[str, Array]) -> Array:
        """Return the reward `[N]`: the sum of its terms, from left to right."""
        return functools.reduce(np.add, terms.values())

    def terminated(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return which episodes `[N]` end in these states; by default none."""
        return np.zeros(len(next_state), dtype=np.bool_)

    def success(self, next_state: Array, task: Array) -> NDArray[np.bool_] | None:
        """Return which rows `[N]` have solved their task in these states, or None where a family has no such notion."""
        return None

    def check_tasks(self, tasks: Array, shape: tuple[int, ...]) -> Array:
        """Return the tasks as float64 `shape`.

        Raises:
            ValueError: If the shape is wrong or a task lies outside `task_space`.
        """
        name = self.name
        tasks = np.asarray(tasks, dtype=np.float64)
        if tasks.shape != shape:
            raise ValueError(f"{name}: tasks of shape {tasks.shape}; expected {shape}, tasks of {self.task_space}")
        rows = tasks.reshape(-1, shape[-1])
        low, high = self.task_space.low, self.task_space.high
        if type(self.task_space) is spaces.Box and np.all((rows >= low) & (rows <= high)):
            return tasks.copy()
        changes = np.flatnonzero(np.any(rows[1:] != rows[:-1], axis=1)) + 1  # rows of one task lie side by side
        for task in rows[np.concatenate([[0], changes])]:
            if not self.task_space.contains(task):
                raise ValueError(f"{name}: task {task.tolist()} is outside its task space {self.task_space}")
        return tasks.copy()


def sample_split(family: Family, n: int, rng: np.random.Generator, split: Split) -> Array:
    """Draw n tasks of a family, `[n, d]`; one whose `sample_tasks` takes no `split` has no sets."""
    check_split(split, family.name)
    sample: Any = family.sample_tasks
    known = inspect.signature(sample).parameters.values()
    takes = any(parameter.name == "split" or parameter.kind is parameter.VAR_KEYWORD for parameter in known)
    return sample(n, rng, split=split) if takes else sample(n, rng)


def check_split(split: Split, name: str) -> Split:
    """Return the set's name.

    Raises:
        ValueError: If there is no such set.
    """
    if split not in get_args(Split):
        raise ValueError(f"{name}: split must be 'train', 'validation' or 'test', got {split!r}")
    return split


def env_class(base: type[EnvType], family: type[Family], suffix: str) -> type[EnvType]:
    """Return the subclass of `base` that runs a family; it belongs to the family's module, so it can be pickled."""
    name = f"{family.__name__}{suffix}"
    about = f"`metarl/{family.__name__}-v0`, {'N simulations' if suffix == 'VectorEnv' else 'one simulation'}."
    body: dict[str, Any] = {"family_type": family, "__module__": family.__module__, "__doc__": about}
    return cast(type[EnvType], type(name, (base,), body))
