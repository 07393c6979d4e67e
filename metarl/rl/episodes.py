"""Episodes of K tasks, padded to the longest and masked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


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

    def every(self, stride: int) -> Episodes:
        """Return every stride-th step of each task, as one long episode with rewards left as they are.

        Step t of episode e is taken where stride divides e + t: a choice that does not depend on the
        padding, and so not on the tasks played beside.
        """
        if stride == 1:
            return self
        _, e, t = self.mask.shape
        taken = (torch.arange(e)[:, None] + torch.arange(t)).flatten() % stride == 0
        return replace(self, **{name: getattr(self, name).flatten(1, 2)[:, None, taken] for name in _STEPPED})

    def to(self, device: torch.device | str) -> Episodes:
        """Return the episodes on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _STEPPED})


_STEPPED = ("obs", "act", "rew", "mask", "logp", "adv")
