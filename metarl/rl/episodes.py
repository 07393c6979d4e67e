"""Episodes of K tasks, padded to the longest and masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from torch import Tensor

from metarl.core.params import index, rows_by
from metarl.errors import Fault


@dataclass(frozen=True)
class Episodes:
    """E episodes of up to T steps in each of K tasks.

    Steps after an episode's end are zero and masked; they count nowhere.
    """

    STEPPED: ClassVar[tuple[str, ...]] = ("obs", "act", "rew", "mask", "logp", "adv")
    """Fields with something in every step, `[K, E, T, ...]`."""
    SPANS: ClassVar[int] = 4
    """Lengths between one power of two and the next, to which those of episodes are rounded up."""

    obs: Tensor
    """Observations before each action, `[K, E, T, o]`."""
    act: Tensor
    """Actions in the policy's units, `[K, E, T, a]`, or `[K, E, T]` if discrete."""
    rew: Tensor
    """Rewards, `[K, E, T]`."""
    mask: Tensor
    """1 where a step was taken, 0 after the end, `[K, E, T]`."""
    logp: Tensor
    """Log-probabilities of the actions under the policy that played them, `[K, E, T]`."""
    adv: Tensor
    """Advantages, `[K, E, T]`."""
    success: Tensor | None = None
    """1 where the task was solved in any step of an episode, `[K, E]`; None where the environment does not say."""
    unstable: int = 0
    """Simulations that diverged."""
    faults: Mapping[int, Fault] = field(default_factory=dict)
    """What was not finite, by task; these tasks hold one step of zeros an episode and should be left out."""
    cut: Mapping[tuple[int, int], Tensor] = field(default_factory=dict)
    """Last observation `[o]` of each episode that truncated itself before the horizon, by task and episode.

    It is for the advantages, which come right after the episodes; a selection of tasks or episodes loses it.
    """

    @cached_property
    def returns(self) -> Tensor:
        """Undiscounted return of each episode, `[K, E]`."""
        return (self.rew * self.mask).sum(-1)

    @property
    def lengths(self) -> Tensor:
        """Steps of each episode, `[K, E]`."""
        return self.mask.sum(-1)

    @property
    def steps(self) -> int:
        """Environment steps taken."""
        return int(self.mask.sum(dtype=torch.float64))

    def __len__(self) -> int:
        """Return the number of tasks K."""
        return len(self.mask)

    @cached_property
    def weight(self) -> Tensor:
        """Weights `[K, E T]` that turn a sum over steps into each task's mean."""
        mask = self.mask.flatten(1)
        return mask / mask.sum(-1, keepdim=True)

    @cached_property
    def spans(self) -> list[int]:
        """Length T to compute each task's episodes at, which depends on that task alone, `[K]`.

        Sums over steps are rounded differently at another length, so the padding must not depend on the tasks
        beside. Lengths are rounded up to a few steps, so that most tasks share one.
        """
        longest = self.mask.shape[-1]
        return [min(span_of(int(steps), self.SPANS), longest) for steps in self.lengths.max(1).values.tolist()]

    def at_length(self, length: int) -> Self:
        """Return the episodes cut or padded to a length that no step taken lies beyond."""
        longest = self.mask.shape[-1]
        if length == longest:
            return self
        values = {name: getattr(self, name)[:, :, :length] for name in self.STEPPED}
        if length > longest:
            values = {name: _padded(value, length) for name, value in values.items()}
        return replace(self, **values)

    def by_length(self) -> Iterator[tuple[list[int], Episodes]]:
        """Yield tasks of equal length, their rows and their episodes at that length."""
        for length, rows in rows_by(self.spans).items():
            yield rows, (self if len(rows) == len(self) else self.select_tasks(rows)).at_length(length)

    def every_nth_step(self, stride: int) -> Episodes:
        """Return every stride-th step of each task, as one long episode with rewards left as they are.

        Step t of episode e is taken where stride divides e + t: a choice that does not depend on the
        padding, and so not on the tasks played beside.
        """
        if stride == 1:
            return self
        _, e, t = self.mask.shape
        taken = (torch.arange(e)[:, None] + torch.arange(t)).flatten() % stride == 0
        return replace(self, **{name: getattr(self, name).flatten(1, 2)[:, None, taken] for name in self.STEPPED})

    def select_tasks(self, tasks: Sequence[int]) -> Episodes:
        """Return the episodes of some tasks."""
        rows = index(tasks)
        success = None if self.success is None else self.success[rows]
        chosen = {name: getattr(self, name)[rows] for name in self.STEPPED}
        return replace(self, **chosen, success=success, faults={}, cut={})

    def select_episodes(self, chosen: Tensor) -> Episodes:
        """Return the episodes of each task at its indices `[K, E']`."""
        rows = torch.arange(len(self))[:, None]
        success = None if self.success is None else self.success[rows, chosen]
        stepped = {name: getattr(self, name)[rows, chosen] for name in self.STEPPED}
        return replace(self, **stepped, success=success, cut={})

    def blank(self, faults: Mapping[int, Fault]) -> Episodes:
        """Return the episodes with one step of zeros in tasks in which something is not finite.

        Batched computations then stay finite, and the other tasks' results are unchanged.
        """
        if not faults:
            return self
        blank = torch.zeros(len(self), dtype=torch.bool)
        blank[list(faults)] = True
        values = {name: getattr(self, name).clone() for name in self.STEPPED}
        for value in values.values():
            value[blank] = 0
        values["mask"][blank, :, 0] = 1
        cut = {at: last for at, last in self.cut.items() if at[0] not in faults}
        return replace(self, **values, faults={**faults, **self.faults}, cut=cut)

    def to(self, device: torch.device | str) -> Episodes:
        """Return the episodes on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in self.STEPPED})


def span_of(steps: int, spans: int = Episodes.SPANS) -> int:
    """Return the next of the lengths of which so many, a power of two, lie between one power of two and the next."""
    unit = max(1, 2 ** (steps.bit_length() - spans.bit_length()))
    return -(-steps // unit) * unit


def _padded(x: Tensor, length: int) -> Tensor:
    """Return `[K, E, length, ...]` with zeros behind."""
    return torch.cat([x, x.new_zeros(*x.shape[:2], length - x.shape[2], *x.shape[3:])], dim=2)
