"""The data of supervised tasks: a few labelled examples to adapt to, others to be judged by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.params import index
from metarl.errors import Fault, UserError


@dataclass(frozen=True)
class Examples:
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

    @property
    def spans(self) -> list[int]:
        """The number of examples N, the same in every task, `[K]`."""
        return [self.x.shape[1]] * len(self)

    def at_length(self, length: int) -> Examples:
        """Return the examples: they have no other length."""
        return self

    def select_tasks(self, tasks: Sequence[int]) -> Examples:
        """Return the examples of some tasks."""
        rows = index(tasks)
        return Examples(self.x[rows], self.y[rows])

    def every_nth_step(self, stride: int) -> Examples:
        """Return every stride-th example of each task."""
        return Examples(self.x[:, ::stride], self.y[:, ::stride])

    def to(self, device: torch.device | str) -> Examples:
        """Return the examples on a device."""
        return Examples(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Shots:
    """Support and query examples of K tasks; none is in both."""

    support: Examples
    """What a task is adapted to."""
    query: Examples
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

    def again(self) -> Shots:
        """Return the shots for another step on the same examples, which draws none."""
        return replace(self, drawn=False)

    def measured(self, score: Tensor) -> Shots:
        """Return the shots with a score `[K]`."""
        return replace(self, returns=score[:, None])

    def to(self, device: torch.device | str) -> Shots:
        """Return the shots on a device."""
        return replace(self, support=self.support.to(device), query=self.query.to(device))


def numbers(values: Any, what: str) -> NDArray[Any]:
    """Return values of somebody's as an array of its own, of floats, whole numbers or bytes.

    Raises:
        UserError: If they are no numbers, of several lengths, or none at all; says so of `what`.
    """
    try:
        array = np.array(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged, say
        raise UserError(f"{what} must be numbers in an array ({str(error).splitlines()[0]})") from error
    if array.dtype.kind not in "biuf":
        raise UserError(f"{what} must be numbers, got {array.dtype}")
    if not array.size:
        raise UserError(f"{what} must not be empty, got {list(array.shape)}")
    if array.dtype.kind == "f":
        return array.astype(np.float32 if array.itemsize < 8 else np.float64, copy=False)
    return array if array.dtype == np.uint8 else array.astype(np.int64, copy=False)


class Source(Protocol):
    """A distribution of supervised tasks."""

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[Any]:
        """Return n tasks, `[n, d]`."""
        ...

    def draw(self, tasks: NDArray[Any], rngs: Iterable[np.random.Generator]) -> Shots:
        """Draw support and query examples of tasks `[K, d]`, each with a generator of its own."""
        ...
