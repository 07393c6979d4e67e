"""The data of one meta-iteration, as one value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from metarl.core.params import Params, in_parts, index, rows_by


@dataclass(frozen=True)
class MetaBatch:
    """Support and query data of K tasks, and the params that played them; nothing in it ever changes."""

    iteration: int
    """The meta-iteration."""
    tasks: tuple[int, ...]
    """Indices of the tasks among those of all workers."""
    support: tuple[Any, ...]
    """Data of each inner step; none where a memory adapts."""
    query: Any
    """Data played by the adapted policies, or whole lifetimes."""
    params: Tensor
    """Meta-params that played the support data, `[P]`."""
    adapted: Params
    """The tasks' params after all inner steps, `[K, ...]` on the CPU; none where a memory adapts."""

    def __len__(self) -> int:
        """Return the number of tasks K."""
        return len(self.tasks)

    @property
    def phases(self) -> list[Any]:
        """The support data of each inner step, then the query data."""
        return [*self.support, self.query]

    def by_length(self) -> Iterator[MetaBatch]:
        """Yield the tasks whose data have equal lengths, each at its own."""
        spans = zip(*(data.spans for data in self.phases), strict=True)
        for lengths, rows in rows_by(spans).items():
            part = self if len(rows) == len(self) else self.select_tasks(rows)
            *support, query = (data.at_length(n) for data, n in zip(part.phases, lengths, strict=True))
            yield replace(part, support=tuple(support), query=query)

    def in_parts(self, at_once: int) -> Iterator[MetaBatch]:
        """Yield the meta-batches of so many of its tasks at most, all of about one size."""
        if at_once >= len(self):
            yield self
            return
        yield from (self.select_tasks(rows) for rows in in_parts(range(len(self)), at_once))

    def select_tasks(self, rows: Sequence[int]) -> MetaBatch:
        """Return the meta-batch of some of its tasks, by their rows."""
        rows = list(rows)
        return replace(
            self,
            tasks=tuple(self.tasks[row] for row in rows),
            support=tuple(data.select_tasks(rows) for data in self.support),
            query=self.query.select_tasks(rows),
            adapted={name: value[index(rows)] for name, value in self.adapted.items()},
        )
