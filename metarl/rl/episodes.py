"""Episodes of K tasks, padded to the longest and masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from metarl.errors import Fault


@dataclass(frozen=True)
class Episodes:
    """E episodes of up to T steps in each of K tasks.

    Steps after an episode's end are zero and masked; they count nowhere.
    """

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
    unstable: int = 0
    """Simulations that diverged."""
    faults: Mapping[int, Fault] = field(default_factory=dict)
    """What was not finite, by task; these tasks hold one step of zeros an episode and should be left out."""

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

    def every_nth_step(self, stride: int) -> Episodes:
        """Return every stride-th step of each task, as one long episode with rewards left as they are.

        Step t of episode e is taken where stride divides e + t: a choice that does not depend on the
        padding, and so not on the tasks played beside.
        """
        if stride == 1:
            return self
        _, e, t = self.mask.shape
        taken = (torch.arange(e)[:, None] + torch.arange(t)).flatten() % stride == 0
        return replace(self, **{name: getattr(self, name).flatten(1, 2)[:, None, taken] for name in _STEPPED})

    def select_tasks(self, tasks: Sequence[int]) -> Episodes:
        """Return the episodes of some tasks."""
        return replace(self, **{name: getattr(self, name)[list(tasks)] for name in _STEPPED}, faults={})

    def select_episodes(self, chosen: Tensor) -> Episodes:
        """Return the episodes of each task at its indices `[K, E']`."""
        rows = torch.arange(len(self))[:, None]
        return replace(self, **{name: getattr(self, name)[rows, chosen] for name in _STEPPED})

    def blank(self, faults: Mapping[int, Fault]) -> Episodes:
        """Return the episodes with one step of zeros in tasks in which something is not finite.

        So whatever is computed of all tasks at once stays finite, and the others' share of it as it was.
        """
        if not faults:
            return self
        blank = torch.zeros(len(self), dtype=torch.bool)
        blank[list(faults)] = True
        values = {name: getattr(self, name).clone() for name in _STEPPED}
        for value in values.values():
            value[blank] = 0
        values["mask"][blank, :, 0] = 1
        return replace(self, **values, faults={**faults, **self.faults})

    def to(self, device: torch.device | str) -> Episodes:
        """Return the episodes on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _STEPPED})


_STEPPED = ("obs", "act", "rew", "mask", "logp", "adv")
