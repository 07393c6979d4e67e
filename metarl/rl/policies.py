"""Policies as plain modules whose forward pass also takes params stacked over tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core.layers import mlp
from metarl.core.params import Params
from metarl.errors import UserError


class Distribution(Protocol):
    """Action distributions in N states of K tasks, `[K, N]`."""

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

    def sample(self, noise: Tensor) -> Tensor:
        """Turn the policy's noise into actions."""
        ...

    def mode(self) -> Tensor:
        """Return the likeliest actions."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions; mean `[K, N, a]`, log_std `[K, 1, a]`."""

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
        return weight[..., None] * inverse_variance * mean, 2 * weight.sum(-1)[..., None, None] * log_std

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + σ noise, for standard normal noise `[K, N, a]`."""
        return self.mean + torch.exp(self.log_std) * noise

    def mode(self) -> Tensor:
        """Return the means, `[K, N, a]`."""
        return self.mean


@dataclass(frozen=True)
class Categorical:
    """Distributions over n actions; log-probabilities `[K, N, n]`, normalised."""

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

    def sample(self, noise: Tensor) -> Tensor:
        """Return argmax(logits - log noise), for standard exponential noise `[K, N, n]` (the Gumbel-max trick)."""
        return (self.logits - noise.log()).argmax(-1)

    def mode(self) -> Tensor:
        """Return the likeliest actions, `[K, N]`."""
        return self.logits.argmax(-1)


class GaussianMLP(nn.Module):
    """Normal distribution whose mean is a tanh network and whose log-std does not depend on the state.

    Args:
        space: The environment's actions, a 1-d `Box`.
        obs_size: Size of an observation.
        hidden: Width of each hidden layer.
        generator: Source of the initial weights.
        init_std: Standard deviation to begin with, in the policy's units.
        min_std: Floor of the standard deviation.
        action_scale: Environment actions are this times the policy's.
    """

    def __init__(
        self,
        space: spaces.Box,
        obs_size: int,
        hidden: Sequence[int],
        generator: torch.Generator,
        init_std: float = 1.0,
        min_std: float = 1e-6,
        action_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.action_size = int(np.prod(space.shape))
        self.mean = mlp([obs_size, *hidden, self.action_size], generator)
        self.log_std = nn.Parameter(torch.full((self.action_size,), math.log(init_std)))
        self.min_log_std = math.log(min_std)
        self.action_scale = action_scale
        self.space = space

    def forward(self, obs: Tensor) -> Gaussian:
        """Return the action distributions in states `[..., N, o]`."""
        return Gaussian(self.mean(obs), self.log_std.clamp(min=self.min_log_std).unsqueeze(-2))

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw standard normal noise `[*shape, a]`."""
        return rng.standard_normal((*shape, self.action_size), dtype=np.float32)

    def env_action(self, act: Tensor) -> NDArray[Any]:
        """Scale and clip the policy's actions `[N, a]` to those the environment takes."""
        scaled = act.numpy().reshape(-1, *self.space.shape) * self.action_scale
        return np.clip(scaled, self.space.low, self.space.high, dtype=self.space.dtype)


class CategoricalMLP(nn.Module):
    """Categorical distribution whose logits are a tanh network.

    Args:
        space: The environment's actions, `Discrete`.
        obs_size: Size of an observation.
        hidden: Width of each hidden layer.
        generator: Source of the initial weights.
    """

    def __init__(self, space: spaces.Discrete, obs_size: int, hidden: Sequence[int], generator: torch.Generator):
        super().__init__()
        self.actions, self.start = int(space.n), int(space.start)
        self.logits = mlp([obs_size, *hidden, self.actions], generator)

    def forward(self, obs: Tensor) -> Categorical:
        """Return the action distributions in states `[..., N, o]`."""
        return Categorical(torch.log_softmax(self.logits(obs), dim=-1))

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw standard exponential noise, `[*shape, n]`."""
        return rng.standard_exponential((*shape, self.actions), dtype=np.float32)

    def env_action(self, act: Tensor) -> NDArray[Any]:
        """Return the actions `[N]` as the environment counts them."""
        return act.numpy().reshape(-1) + self.start


Policy = GaussianMLP | CategoricalMLP


def make_policy(
    observation_space: Space,
    action_space: Space,
    hidden: Sequence[int],
    seed: int,
    init_std: float = 1.0,
    action_scale: float = 1.0,
) -> Policy:
    """Build the policy that fits the spaces; its weights depend on the seed alone.

    Raises:
        UserError: If observations are not a `Box` or actions neither a `Box` of floats nor `Discrete`.
    """
    generator, obs_size = torch.Generator().manual_seed(seed), observation_size(observation_space)
    if isinstance(action_space, spaces.Discrete):
        return CategoricalMLP(action_space, obs_size, hidden, generator)
    if isinstance(action_space, spaces.Box) and np.issubdtype(action_space.dtype, np.floating):
        return GaussianMLP(action_space, obs_size, hidden, generator, init_std=init_std, action_scale=action_scale)
    raise UserError(f"actions must be a Box of floats or Discrete, got {action_space}")


def observation_size(space: Space) -> int:
    """Return how many numbers an observation holds.

    Raises:
        UserError: If observations are not a `Box`.
    """
    if not isinstance(space, spaces.Box):
        raise UserError(f"observations must be a Box, got {space}")
    return int(np.prod(space.shape))


def distribution(policy: nn.Module, params: Params, obs: Tensor) -> Any:
    """Return the policy's distributions in states `[K, N, o]` under params stacked over tasks `[K, ...]`."""
    return functional_call(policy, params, (obs,), tie_weights=False)
