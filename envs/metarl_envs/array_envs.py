"""Families whose physics are a few lines of NumPy."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_envs.family import Array, Family, env_class
from metarl_envs.rendering import Frame
from metarl_envs.single import TaskEnv
from metarl_envs.vector import TaskVectorEnv

BLOCK = 128
"""Steps for which a row draws its random numbers at once, from its own generator."""


class ArrayFamily(Family):
    """A family that moves its own states.

    Attributes:
        noise_size: Random numbers that one step of one simulation needs.
    """

    noise_size: int = 0

    @abstractmethod
    def move(self, state: Array, action: Array, task: Array, noise: Array) -> Array:
        """Return the states `[N, s]` after one step, as a new array; noise `[N, noise_size]`."""

    @abstractmethod
    def draw(self, state: Array, task: Array, size: int) -> Frame:
        """Return a picture `[size, size, 3]` of one state `[s]` and task `[d]`."""

    def draw_noise(self, rng: np.random.Generator, steps: int) -> Array:
        """Draw the random numbers of the next steps, `[steps, noise_size]`."""
        return np.zeros((steps, 0))


class ArrayTaskEnv(TaskEnv):
    """One simulation of an array family."""

    family: ArrayFamily

    def _build(self) -> None:
        self._noise: list[Array] = []  # last step first

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode; see `TaskEnv`."""
        if seed is not None:
            self._noise = []
        return super().reset(seed=seed, options=options)

    def _move(self, action: Array) -> tuple[Array, bool]:
        if not self._noise:
            self._noise = list(self.family.draw_noise(self.np_random, BLOCK)[::-1])
        noise = self._noise.pop()
        return self.family.move(self._state[None], action[None], self.task[None], noise[None])[0], False

    def _frame(self) -> Frame:
        return self.family.draw(self._state, self.task, self.render_size)


class ArrayTaskVectorEnv(TaskVectorEnv):
    """N simulations of an array family."""

    family: ArrayFamily

    def _build(self) -> None:
        self._noise = np.zeros((self.num_envs, BLOCK, self.family.noise_size))
        self._used = np.full(self.num_envs, BLOCK)

    def _forget(self, row: int) -> None:
        self._used[row] = BLOCK

    def _draw(self, rows: NDArray[np.int64] | None) -> Array:
        """Return the random numbers of this step, `[N, noise_size]`, valid in the rows that run."""
        if not self.family.noise_size:
            return self._noise[:, 0]
        running = np.arange(self.num_envs) if rows is None else rows
        for i in running[self._used[running] == BLOCK]:
            self._noise[i] = self.family.draw_noise(self._rng(int(i)), BLOCK)
            self._used[i] = 0
        noise = self._noise[np.arange(self.num_envs), self._used % BLOCK]
        self._used[running] += 1
        return noise

    def _move(self, rows: NDArray[np.int64] | None, actions: Array) -> tuple[Array, None]:
        moved = self.family.move(self._state, actions, self.tasks, self._draw(rows))
        if rows is not None:
            running = np.zeros(self.num_envs, np.bool_)
            running[rows] = True
            moved = np.where(running[:, None], moved, self._state)
        return moved, None

    def _frame(self, row: int) -> Frame:
        return self.family.draw(self._state[row], self.tasks[row], self.render_size)


def make_envs(family: type[ArrayFamily]) -> tuple[type[ArrayTaskEnv], type[ArrayTaskVectorEnv]]:
    """Return the two environment classes of a family, `<Family>Env` and `<Family>VectorEnv`."""
    return env_class(ArrayTaskEnv, family, "Env"), env_class(ArrayTaskVectorEnv, family, "VectorEnv")
