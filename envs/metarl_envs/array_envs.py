"""Families whose physics are a few lines of NumPy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_envs.counter_rng import Streams, stream_keys
from metarl_envs.family import Array, Family, env_class
from metarl_envs.rendering import Frame
from metarl_envs.single import TaskEnv
from metarl_envs.vector import TaskVectorEnv


class ArrayFamily(Family):
    """A family that starts and moves its own states, with random numbers from `rng`, a stream for each row."""

    @abstractmethod
    def start(self, rng: Streams) -> Array:
        """Return the states `[N, s]` in which episodes start; N is `len(rng)`."""

    @abstractmethod
    def move(self, state: Array, action: Array, task: Array, rng: Streams) -> Array:
        """Return the states `[N, s]` after one step, as a new array."""

    @abstractmethod
    def draw(self, state: Array, task: Array, size: int) -> Frame:
        """Return a picture `[size, size, 3]` of one state `[s]` and task `[d]`."""


class ArrayTaskEnv(TaskEnv):
    """One simulation of an array family."""

    family: ArrayFamily

    def _build(self) -> None:
        self._streams: Streams | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode; see `TaskEnv`."""
        if seed is not None:
            self._streams = None
        return super().reset(seed=seed, options=options)

    def _begin(self) -> Array:
        if self._streams is None:
            seed = self.np_random_seed
            # Gymnasium's -1: somebody gave the environment a generator
            self._streams = Streams(stream_keys([seed if seed >= 0 else int(self.np_random.integers(2**63))]))
        return self.family.start(self._streams)[0]

    def _move(self, action: Array) -> tuple[Array, bool]:
        assert self._streams is not None
        return self.family.move(self._state[None], action[None], self.task[None], self._streams)[0], False

    def _frame(self) -> Frame:
        return self.family.draw(self._state, self.task, self.render_size)


class ArrayTaskVectorEnv(TaskVectorEnv):
    """N simulations of an array family."""

    family: ArrayFamily

    def _build(self) -> None:
        entropy = np.random.SeedSequence().generate_state(self.num_envs, np.uint64)
        self._streams = Streams(entropy.astype(np.uint64))

    def _seed(self, rows: NDArray[np.int64], seeds: Sequence[int | None]) -> None:
        self._streams.keys[rows] = stream_keys(seeds)[rows]
        self._streams.drawn[rows] = 0

    def _begin(self, rows: NDArray[np.int64]) -> Array:
        rng = Streams(self._streams.keys[rows], self._streams.drawn[rows])
        starts = self.family.start(rng)
        self._streams.drawn[rows] = rng.drawn
        return starts

    def _move(self, rows: NDArray[np.int64] | None, actions: Array) -> tuple[Array, None]:
        drawn = self._streams.drawn
        moved = self.family.move(self._state, actions, self.tasks, self._streams)
        if rows is not None:
            running = np.zeros(self.num_envs, np.bool_)
            running[rows] = True
            moved = np.where(running[:, None], moved, self._state)
            self._streams.drawn = np.where(running, self._streams.drawn, drawn)
        return moved, None

    def _frame(self, row: int) -> Frame:
        return self.family.draw(self._state[row], self.tasks[row], self.render_size)


def make_envs(family: type[ArrayFamily]) -> tuple[type[ArrayTaskEnv], type[ArrayTaskVectorEnv]]:
    """Return the two environment classes of a family, `<Family>Env` and `<Family>VectorEnv`."""
    return env_class(ArrayTaskEnv, family, "Env"), env_class(ArrayTaskVectorEnv, family, "VectorEnv")
