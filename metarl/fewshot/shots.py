"""The data of supervised tasks: a few labelled examples to adapt to, others to be judged by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.errors import Fault


@dataclass(frozen=True)
class Batch:
    """N examples of each of K tasks."""

    x: Tensor
    """Inputs, `[K, N, ...]`."""
    y: Tensor
    """Targets: `[K, N, o]` in regression, classes `[K, N]` in classification."""

    @property
    def faults(self) -> Mapping[int, Fault]:
        """Nothing to go wrong before the networks see it."""
        return {}

    def __len__(self) -> int:
        """Return the number of tasks K."""
        return len(self.x)

    def of(self, tasks: Sequence[int]) -> Batch:
        """Return the examples of some tasks."""
        return Batch(self.x[list(tasks)], self.y[list(tasks)])

    def every(self, stride: int) -> Batch:
        """Return every stride-th example of each task."""
        return Batch(self.x[:, ::stride], self.y[:, ::stride])

    def to(self, device: torch.device | str) -> Batch:
        """Return the examples on a device."""
        return Batch(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Lesson:
    """Support and query examples of K tasks; none is in both."""

    support: Batch
    """What a task is adapted to."""
    query: Batch
    """What tells how well."""
    returns: Tensor | None = None
    """Loss or accuracy on the query examples, `[K, 1]`, once measured."""
    drawn: bool = True
    """Whether the examples were drawn for it, or are those of the step before."""

    @property
    def lengths(self) -> Tensor:
        """Support examples of each task, `[K, 1]`."""
        return torch.full((len(self.support), 1), float(self.support.x.shape[1]))

    @property
    def steps(self) -> int:
        """Examples drawn."""
        return sum(batch.x.shape[0] * batch.x.shape[1] for batch in (self.support, self.query)) * self.drawn

    @property
    def unstable(self) -> int:
        """Nothing to diverge here."""
        return 0

    @property
    def faults(self) -> Mapping[int, Fault]:
        """As those of the examples."""
        return self.query.faults

    def again(self) -> Lesson:
        """Return the lesson for another step on the same examples, which draws none."""
        return replace(self, drawn=False)

    def measured(self, score: Tensor) -> Lesson:
        """Return the lesson with a score `[K]`."""
        return replace(self, returns=score[:, None])

    def to(self, device: torch.device | str) -> Lesson:
        """Return the lesson on a device."""
        return replace(self, support=self.support.to(device), query=self.query.to(device))


class Source(Protocol):
    """A distribution of supervised tasks."""

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[Any]:
        """Return n tasks, `[n, d]`."""
        ...

    def draw(self, tasks: NDArray[Any], rngs: Iterable[np.random.Generator]) -> Lesson:
        """Draw support and query examples of tasks `[K, d]`, each with a generator of its own."""
        ...
