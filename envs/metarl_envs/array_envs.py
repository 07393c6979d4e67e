"""Families whose physics are a few lines of NumPy."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from metarl_envs.family import Array, Family
from metarl_envs.single import TaskEnv
from metarl_envs.vector import TaskVectorEnv


class ArrayFamily(Family):
    """A family that moves its own states."""

    @abstractmethod
    def move(self, state: Array, action: Array, task: Array) -> Array:
        """Return the states `[N, s]` after one step, as a new array."""


class ArrayTaskEnv(TaskEnv):
    """One simulation of an array family."""

    family: ArrayFamily

    def _place(self) -> None:
        pass  # the state is the simulation

    def _move(self, action: Array) -> tuple[Array, bool]:
        return self.family.move(self._state[None], action[None], self.task[None])[0], False


class ArrayTaskVectorEnv(TaskVectorEnv):
    """N simulations of an array family."""

    family: ArrayFamily

    def _place(self, rows: NDArray[np.int64]) -> None:
        pass  # the state is the simulation

    def _move(self, rows: NDArray[np.int64] | None, actions: Array) -> tuple[Array, None]:
        moved = self.family.move(self._state, actions, self.tasks)
        if rows is not None:
            running = np.zeros(self.num_envs, np.bool_)
            running[rows] = True
            moved = np.where(running[:, None], moved, self._state)
        return moved, None
