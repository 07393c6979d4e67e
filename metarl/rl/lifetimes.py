"""Lifetimes of several episodes in one task as single sequences, and their losses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core import params as P
from metarl.core.distributions import Valued
from metarl.core.params import Params
from metarl.rl.episodes import Episodes, span_of
from metarl.rl.losses import PolicyGradient
from metarl.threads import one_thread


@dataclass(frozen=True, kw_only=True)
class Lifetimes(Episodes):
    """Lifetimes `[K, E, L, ...]`: the steps of their episodes one after another, padding last."""

    STEPPED: ClassVar[tuple[str, ...]] = (*Episodes.STEPPED, "ret", "noise", "context")
    SPANS: ClassVar[int] = 1
    """Steps of a memory in turn take as long for a few lifetimes as for many: few lengths, each for many."""

    ret: Tensor
    """Discounted return of the lifetime's rest, by the λ of the advantages, `[K, E, L]`."""
    noise: Tensor
    """Standard normal noise for losses that sample, `[K, E, L, n]`; n is 0 where none does."""
    context: Tensor
    """What the policy acted on beside the observations and does not learn itself, `[K, E, L, c]`; c may be 0."""


def join(policy: Any, played: Sequence[Episodes], longest: int | None = None) -> Lifetimes:
    """Return lifetimes `[K, E, L, ...]` from their episodes.

    Their observations are the policy's inputs. With `longest`, the longest there could be, they are padded to a length
    that those of other tasks come to as well.
    """
    ends = [torch.zeros_like(e.mask).scatter_(2, (e.lengths.long() - 1)[..., None], 1.0) for e in played]
    mask = torch.cat([episodes.mask for episodes in played], dim=2)
    order = mask.argsort(dim=2, descending=True, stable=True)[..., : int(mask.sum(-1).max())]

    def in_order(parts: Sequence[Tensor]) -> Tensor:
        x = torch.cat(list(parts), dim=2)
        index = order.view(*order.shape, *[1] * (x.dim() - 3)).expand(*order.shape, *x.shape[3:])
        return x.gather(2, index)

    def before(x: Tensor) -> Tensor:
        return nn.functional.pad(x[:, :, :-1], (0, 0, 1, 0))

    steps: dict[str, Any] = {
        name: in_order([getattr(episodes, name) for episodes in played]) for name in Episodes.STEPPED
    }
    nothing = steps["adv"].new_zeros(*order.shape, 0)
    life = Lifetimes(**steps, ret=torch.zeros_like(steps["adv"]), noise=nothing, context=nothing)
    seen = policy.seen(life.obs, life.act, life.rew, in_order(ends))
    inputs = torch.cat([life.obs, before(seen)], dim=-1) * life.mask[..., None]
    life = replace(life, obs=inputs, unstable=sum(episodes.unstable for episodes in played))
    return life if longest is None else life.at_length(min(span_of(order.shape[-1], Lifetimes.SPANS), longest))


@dataclass(frozen=True)
class LifetimeGradient(PolicyGradient):
    """The policy-gradient objectives of a policy with a memory on whole lifetimes."""

    policy: Any

    noise_size: ClassVar[int] = 0
    """Numbers of noise a step that a loss needs."""

    def threads(self) -> AbstractContextManager[None]:
        """Return the context of one thread: hundreds of small steps in turn only wait for the others."""
        return one_thread()

    def tasks_at_once(self, data: Episodes) -> int:
        """Return the number of all tasks: many small steps in turn take as long for a few."""
        return len(data)

    def given(self, params: Params, lifetimes: Lifetimes) -> Lifetimes:
        """Return the lifetimes with what these params, the same for all tasks, had the policy act on; here nothing."""
        return lifetimes

    def outputs(self, params: Params, episodes: Episodes) -> Any:
        """Return the action distributions in every step, `[K, E L]`, under params that all tasks share."""
        start = episodes.obs.new_zeros(*episodes.mask.shape[:2], self.policy.size)
        return functional_call(self.policy, self.own(params), (episodes.obs, start))[0]

    def worth(self, params: Params, lifetimes: Episodes) -> Tensor:
        """Return what the critic says the rest of the lifetime is worth in every step, `[K, E, L]`.

        Args:
            params: The params, the same for all tasks.
            lifetimes: The lifetimes.
        """
        with torch.no_grad():
            return self.outputs(P.stack(params, len(lifetimes)), lifetimes).worth.view_as(lifetimes.mask)

    def value_loss(self, new: Valued, lifetimes: Lifetimes) -> Tensor:
        """Return half the mean squared error of the critic, in its own units, `[K]`."""
        mean, std = new.unit.unbind(-1)
        error = new.value[..., 0] - (lifetimes.ret.flatten(1) - mean) / std
        return 0.5 * (error.square() * lifetimes.weight).sum(-1)
