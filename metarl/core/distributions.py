"""Distributions: what a policy says of actions, and a network of what it predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor


class Distribution(Protocol):
    """Distributions of actions in N states of K tasks, or of what N examples are, `[K, N]`."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors that define the distributions."""
        ...

    def log_prob(self, act: Tensor) -> Tensor:
        """Return the log-probabilities `[K, N]` of actions `[K, N, ...]`."""
        ...

    def kl(self, other: Any) -> Tensor:
        """Return KL(self, other), `[K, N]`."""
        ...

    def fisher(self, tangents: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, ...]:
        """Return the Fisher matrix of the parameters, states weighted by `[K, N]`, times the tangents."""
        ...

    def entropy(self) -> Tensor:
        """Return the entropies in nats, `[K, N]`, or `[K, 1]` where all states share one."""
        ...

    def sample(self, noise: Tensor) -> Tensor:
        """Turn the policy's noise into actions."""
        ...

    def mode(self) -> Tensor:
        """Return the likeliest actions."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions; mean `[K, N, a]`, log_std `[K, 1, a]` or `[K, N, a]`."""

    mean: Tensor
    log_std: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Mean and log_std."""
        return self.mean, self.log_std

    def log_prob(self, act: Tensor) -> Tensor:
        """Return the log-densities `[K, N]` of actions `[K, N, a]`."""
        z = (act - self.mean) * torch.exp(-self.log_std)
        return -0.5 * z.square().sum(-1) - self.log_std.sum(-1) - 0.5 * math.log(2 * math.pi) * act.shape[-1]

    def kl(self, other: Gaussian) -> Tensor:
        """Return KL(self, other), `[K, N]`."""
        ratio = torch.exp(2 * (self.log_std - other.log_std))
        distance = ((self.mean - other.mean) * torch.exp(-other.log_std)).square()
        return (0.5 * (ratio + distance - 1) + other.log_std - self.log_std).sum(-1)

    def fisher(self, tangents: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, ...]:
        """Fisher matrix diag(1/σ², 2) times (mean, log_std) tangents, states weighted by `[K, N]`."""
        mean, log_std = tangents
        inverse_variance = torch.exp(-2 * self.log_std)
        shared = self.log_std.shape[-2] == 1  # by all states of a task
        share = weight.sum(-1)[..., None, None] if shared else weight[..., None]
        return weight[..., None] * inverse_variance * mean, 2 * share * log_std

    def entropy(self) -> Tensor:
        """Return the differential entropies, `[K, 1]` or `[K, N]`."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + σ noise, for standard normal noise `[K, N, a]`."""
        return self.mean + torch.exp(self.log_std) * noise

    def mode(self) -> Tensor:
        """Return the means, `[K, N, a]`."""
        return self.mean


@dataclass(frozen=True)
class Categorical:
    """Distributions over n actions or classes; log-probabilities `[K, N, n]`, normalised."""

    logits: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The log-probabilities."""
        return (self.logits,)

    def log_prob(self, act: Tensor) -> Tensor:
        """Return the log-probabilities `[K, N]` of actions `[K, N]`."""
        return self.logits.gather(-1, act.long().unsqueeze(-1)).squeeze(-1)

    def kl(self, other: Categorical) -> Tensor:
        """Return KL(self, other), `[K, N]`."""
        return (self.logits.exp() * (self.logits - other.logits)).sum(-1)

    def fisher(self, tangents: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, ...]:
        """Fisher matrix diag(p) - pp' times the tangents of the logits, states weighted by `[K, N]`."""
        (tangent,) = tangents
        p = self.logits.exp()
        return (weight[..., None] * p * (tangent - (p * tangent).sum(-1, keepdim=True)),)

    def entropy(self) -> Tensor:
        """Return the entropies, `[K, N]`."""
        return -(self.logits.exp() * self.logits).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Return argmax(logits - log noise), for standard exponential noise `[K, N, n]` (the Gumbel-max trick)."""
        return (self.logits - noise.log()).argmax(-1)

    def mode(self) -> Tensor:
        """Return the likeliest actions, `[K, N]`."""
        return self.logits.argmax(-1)


@dataclass(frozen=True)
class Valued:
    """Action distributions, and what a critic says the states are worth."""

    actions: Distribution
    value: Tensor
    """Discounted return to come, in the critic's own units, `[K, N, 1]`."""
    unit: Tensor
    """Those units, a constant: mean and standard deviation of the returns that the critic has learnt, `[K, 1, 2]`."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Those of the action distributions."""
        return self.actions.parameters

    @property
    def worth(self) -> Tensor:
        """Discounted return to come, in units of reward, `[K, N]`."""
        return (self.unit[..., :1] + self.unit[..., 1:] * self.value)[..., 0]

    def log_prob(self, act: Tensor) -> Tensor:
        """Return the log-probabilities of actions, `[K, N]`."""
        return self.actions.log_prob(act)

    def kl(self, other: Valued) -> Tensor:
        """Return the KL divergence of the action distributions, `[K, N]`."""
        return self.actions.kl(other.actions)

    def fisher(self, tangents: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, ...]:
        """Return that of the action distributions."""
        return self.actions.fisher(tangents, weight)

    def entropy(self) -> Tensor:
        """Return that of the action distributions."""
        return self.actions.entropy()

    def sample(self, noise: Tensor) -> Tensor:
        """Turn the policy's noise into actions."""
        return self.actions.sample(noise)

    def mode(self) -> Tensor:
        """Return the likeliest actions."""
        return self.actions.mode()


def stacked(distributions: Sequence[Any]) -> Any:
    """Return distributions in T steps as one, with a dimension T in front of what differs from step to step."""
    first = distributions[0]

    def joined(name: str) -> Any:
        values = [getattr(distribution, name) for distribution in distributions]
        if not isinstance(values[0], Tensor):
            return stacked(values)
        constant = len(values) > 1 and all(value is values[0] for value in values)
        return values[0] if constant else torch.stack(values)

    return replace(first, **{name: joined(name) for name in vars(first)})
