"""A task distribution out of an existing Gymnasium environment: its attributes or its keyword arguments vary."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from metarl_envs.family import Array

Range = tuple[float, float]
"""Lowest and highest number."""


class RangeTasks(gymnasium.Wrapper):
    """Gives an environment the three task methods; a task holds one number for each named range.

    Args:
        env: The environment.
        ranges: The ranges by name, in the order of the task's numbers.
    """

    def __init__(self, env: gymnasium.Env, ranges: Mapping[str, Range]) -> None:
        super().__init__(env)
        if not ranges:
            raise ValueError(f"{self._name}: expected at least one range, got none")
        for name, (low, high) in ranges.items():
            if not low < high:
                raise ValueError(f"{self._name}: {name}: low must be less than high, got low={low}, high={high}")
        self.names = tuple(ranges)
        low, high = np.array(list(ranges.values()), dtype=np.float64).T
        self.task_space = spaces.Box(low, high, dtype=np.float64)

    @property
    def _name(self) -> str:
        return self.env.spec.id if self.env.spec is not None else type(self.env.unwrapped).__name__

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n tasks, `[n, d]`, uniformly."""
        return rng.uniform(self.task_space.low, self.task_space.high, size=(n, len(self.names)))

    def set_task(self, task: Array) -> None:
        """Make `task` `[d]` the task from the next step or reset on.

        Raises:
            ValueError: If the task has the wrong shape or lies outside `task_space`.
        """
        task = np.array(task, dtype=np.float64)
        if not self.task_space.contains(task):
            expected = ", ".join(self.names)
            raise ValueError(
                f"{self._name}: task {task.tolist()} is outside its task space {self.task_space} ({expected})"
            )
        self._apply(dict(zip(self.names, task.tolist(), strict=True)))

    @abstractmethod
    def _apply(self, values: dict[str, float]) -> None:
        """Give the environment its numbers."""


class AttributeTasks(RangeTasks):
    """Tasks that are attributes of an environment, such as the pole's length and the gravity of CartPole.

    Args:
        env: The environment.
        ranges: The ranges by name of the attribute.
        update: Called with the unwrapped environment after the attributes were set, to compute what follows from
            them (CartPole's `polemass_length`).

    Raises:
        ValueError: If the environment lacks an attribute; names the nearest match.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        ranges: Mapping[str, Range],
        update: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__(env, ranges)
        self.update = update
        numbers = [name for name, value in vars(env.unwrapped).items() if isinstance(value, int | float)]
        for name in self.names:
            if name not in numbers:
                near = difflib.get_close_matches(name, numbers, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(numbers))}"
                raise ValueError(f"{self._name}: no number {name!r} among its attributes{hint}")

    def _apply(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            setattr(self.env.unwrapped, name, value)
        if self.update is not None:
            self.update(self.env.unwrapped)


class KeywordTasks(RangeTasks):
    """Tasks that are keyword arguments of an environment, which is made anew for each task.

    The new environment goes on with the random generator of the old one. Call `reset` after `set_task`.

    Args:
        env_id: Gymnasium id.
        ranges: The ranges by name of the keyword argument.
        **fixed: The other keyword arguments of `gymnasium.make`.

    Raises:
        ValueError: If the environment does not take a keyword.
    """

    def __init__(self, env_id: str, ranges: Mapping[str, Range], **fixed: Any) -> None:
        self.env_id, self.fixed = env_id, fixed
        middle = {name: 0.5 * (low + high) for name, (low, high) in ranges.items()}
        super().__init__(self._make(middle), ranges)

    def _make(self, values: dict[str, float]) -> gymnasium.Env:
        try:
            keywords: dict[str, Any] = {**self.fixed, **values}
            return gymnasium.make(self.env_id, **keywords)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            expected = ", ".join(values)
            raise ValueError(f"{self.env_id} does not take one of the keyword arguments {expected}: {error}") from error

    def _apply(self, values: dict[str, float]) -> None:
        old = self.env
        self.env = self._make(values)
        for name in ("_np_random", "_np_random_seed", "_streams"):  # the last one in our array families only
            if hasattr(old.unwrapped, name):
                setattr(self.env.unwrapped, name, getattr(old.unwrapped, name))
        old.close()
