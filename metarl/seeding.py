"""The random numbers of tasks: streams that never meet, whatever they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from metarl.errors import UserError, takes

TRAINING, VALIDATION, SHUFFLE, TEST = 0, 1, 2, 3
"""What training plays, what its own evaluations do (which choose the best policy), how epochs are shuffled, and what
everybody else judges by: with the same seed they differ."""

RANDOM_NUMBERS = 3
"""Raised whenever the same seed comes to draw other numbers; a run that is resumed is compared by it."""

Split = Literal["train", "validation", "test"]
"""Which set of tasks, where they are fixed: to learn from, to choose a run's best params by, or to judge them by."""

TaskRngs = Callable[[int], Iterator[np.random.Generator]]
"""From the phase to a generator for each task in turn, good until the next one is asked for."""


class TaskDistribution(Protocol):
    """What draws tasks."""

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[Any]:
        """Return n tasks, `[n, d]`."""
        ...


def stream_rng(seed: int, stream: int, *key: int) -> np.random.Generator:
    """Return the generator of a seed in one of the streams, at a meta-iteration, say."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, *key)))


def seed_of_part(seed: int) -> int:
    """Return the seed of a further part of a network: neighbouring seeds must not share initial weights."""
    return int(np.random.SeedSequence(seed, spawn_key=(0,)).generate_state(1, np.uint64)[0])


def draw_tasks(tasks: TaskDistribution, n: int, seed: int, stream: int, *iteration: int) -> NDArray[Any]:
    """Return n tasks `[n, d]`, chosen by a seed in one of the streams (and in a meta-iteration), of its set."""
    return sample_split(tasks.sample_tasks, n, stream_rng(seed, stream, *iteration), split_of(stream))


def split_of(stream: int) -> Split:
    """Return the set of tasks that a stream draws from, where there are several."""
    return "train" if stream == TRAINING else "validation" if stream == VALIDATION else "test"


def sample_split(sample: Callable[..., Any], n: int, rng: np.random.Generator, split: Split) -> Any:
    """Call a `sample_tasks`; one that takes no `split` has no sets.

    Raises:
        UserError: If there is no such set.
    """
    if split not in get_args(Split):
        raise UserError(f"split must be 'train', 'validation' or 'test', got {split!r}")
    return sample(n, rng, split=split) if takes(sample, "split") else sample(n, rng)


def task_rngs(seed: int, stream: int, iteration: int, tasks: Sequence[int]) -> TaskRngs:
    """Return every episode's only source of randomness: a stream for each task index and phase.

    Streams are counter-based (Philox, Salmon et al. 2011). The phase chooses the key and the task's index where to
    count from, 2¹⁹² blocks apart. So a task's numbers are the same whichever tasks are drawn beside it.
    """

    def rngs(phase: int) -> Iterator[np.random.Generator]:
        philox = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(stream, iteration, phase)))
        rng, state = np.random.Generator(philox), cast(Any, philox.state)
        for task in tasks:
            state["state"]["counter"][3] = task
            philox.state = state
            yield rng

    return rngs
