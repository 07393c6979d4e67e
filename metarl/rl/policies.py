"""Policies as plain modules whose forward pass also takes params stacked over tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core.distributions import Categorical, Gaussian
from metarl.core.layers import mlp, prepared_mlp
from metarl.core.params import Params
from metarl.errors import UserError

Activation = Literal["tanh", "relu", "elu", "gelu", "silu"]
"""What follows a hidden layer."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
"""Their layers."""


class BoxActions:
    """Actions of a `Box` of floats: the noise they are sampled with, and the environment's units.

    Args:
        space: The environment's actions.
        scale: Environment actions are this times the policy's.
    """

    def __init__(self, space: spaces.Box, scale: float = 1.0) -> None:
        self.space, self.scale, self.size = space, scale, int(np.prod(space.shape))
        if not self.size:
            raise UserError(f"actions must hold a number at least, got {space}")

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw standard normal noise `[*shape, a]`."""
        return rng.standard_normal((*shape, self.size), dtype=np.float32)

    def to_env(self, act: Tensor) -> NDArray[Any]:
        """Scale and clip the policy's actions `[N, a]` to those the environment takes."""
        scaled = act.numpy().reshape(-1, *self.space.shape) * self.scale
        return np.clip(scaled, self.space.low, self.space.high, dtype=self.space.dtype)


class DiscreteActions:
    """Actions of a `Discrete` space, counted from 0 by the policy.

    Args:
        space: The environment's actions.
    """

    def __init__(self, space: spaces.Discrete) -> None:
        self.space, self.size, self.start = space, int(space.n), int(space.start)

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw standard exponential noise, `[*shape, n]`."""
        return rng.standard_exponential((*shape, self.size), dtype=np.float32)

    def to_env(self, act: Tensor) -> NDArray[Any]:
        """Return the actions `[N]` as the environment counts them."""
        return (act.numpy().reshape(-1) + self.start).astype(self.space.dtype, copy=False)


def actions_of(space: Space, scale: float = 1.0) -> BoxActions | DiscreteActions:
    """Return what is to be known of the environment's actions.

    Raises:
        UserError: If they are neither a `Box` of floats nor `Discrete`.
    """
    if isinstance(space, spaces.Discrete):
        return DiscreteActions(space)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return BoxActions(space, scale)
    raise UserError(f"actions must be a Box of floats or Discrete, got {space}")


class ExpectedReward(nn.Module):
    """A task's mean reward as a context tells it, linear in it.

    Args:
        context: Size of the context.
        generator: Source of the initial weights, standard normal.
    """

    def __init__(self, context: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(context, generator=generator))
        self.offset = nn.Parameter(torch.zeros(()))


def expected_reward(params: Params) -> Tensor:
    """Return the mean reward `[K]` that the contexts of a policy's stacked params tell."""
    (context,) = (value for name, value in params.items() if name.endswith(".context"))
    return (params["reward.weight"] * context).sum(-1) + params["reward.offset"]


class Policy(nn.Module):
    """A network that returns action distributions, with what the sampler needs to act by them.

    Args:
        actions: The environment's actions.
        reward: What a context tells of rewards, if anything.
    """

    def __init__(self, actions: BoxActions | DiscreteActions, reward: ExpectedReward | None = None) -> None:
        super().__init__()
        self.actions = actions
        if reward is not None:
            self.reward = reward

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw the noise that actions are sampled with, `[*shape, a]`."""
        return self.actions.noise(rng, shape)

    def env_action(self, act: Tensor) -> NDArray[Any]:
        """Return the actions that the environment takes, from the policy's own `[N, ...]`."""
        return self.actions.to_env(act)

    def prepared(self, params: Params) -> Callable[[Tensor], Any]:
        """Return the forward pass under params stacked over tasks that stay the same for many states `[K, N, o]`."""
        return lambda obs: distribution(self, params, obs)


class GaussianMLP(Policy):
    """Normal distribution whose mean is a perceptron and whose log-std does not depend on the state.

    Args:
        actions: The environment's actions, a `Box`.
        mean: The perceptron, an `mlp`.
        init_std: Standard deviation to begin with, in the policy's units.
        reward: What the context tells of rewards, if anything.
    """

    min_log_std: ClassVar[float] = math.log(1e-6)
    """Floor of the standard deviation's logarithm."""

    def __init__(
        self, actions: BoxActions, mean: nn.Sequential, init_std: float = 1.0, reward: ExpectedReward | None = None
    ) -> None:
        super().__init__(actions, reward)
        self.mean = mean
        self.log_std = nn.Parameter(torch.full((actions.size,), math.log(init_std)))

    def forward(self, obs: Tensor) -> Gaussian:
        """Return the action distributions in states `[..., N, o]`."""
        return Gaussian(self.mean(obs), self.log_std.clamp(min=self.min_log_std).unsqueeze(-2))

    def prepared(self, params: Params) -> Callable[[Tensor], Gaussian]:
        """Return the forward pass under stacked params; log_std is one tensor in all states."""
        mean = prepared_mlp(self.mean, params, "mean.")
        log_std = params["log_std"].clamp(min=self.min_log_std).unsqueeze(-2)
        return lambda obs: Gaussian(mean(obs), log_std)


class CategoricalMLP(Policy):
    """Categorical distribution whose logits are a perceptron.

    Args:
        actions: The environment's actions, `Discrete`.
        logits: The perceptron, an `mlp`.
        reward: What the context tells of rewards, if anything.
    """

    def __init__(self, actions: DiscreteActions, logits: nn.Sequential, reward: ExpectedReward | None = None) -> None:
        super().__init__(actions, reward)
        self.logits = logits

    def forward(self, obs: Tensor) -> Categorical:
        """Return the action distributions in states `[..., N, o]`."""
        return Categorical(torch.log_softmax(self.logits(obs), dim=-1))

    def prepared(self, params: Params) -> Callable[[Tensor], Categorical]:
        """Return the forward pass under stacked params."""
        logits = prepared_mlp(self.logits, params, "logits.")
        return lambda obs: Categorical(torch.log_softmax(logits(obs), dim=-1))


def make_policy(
    observation_space: Space,
    action_space: Space,
    hidden: Sequence[int],
    seed: int,
    init_std: float = 1.0,
    action_scale: float = 1.0,
    activation: Activation = "tanh",
    layer_norm: bool = False,
    last_layer_std: float | None = None,
    context: int = 0,
    expects_reward: bool = False,
) -> Policy:
    """Build the built-in policy that fits the spaces; its weights depend on the seed alone.

    Raises:
        UserError: If observations are not a `Box` or actions neither a `Box` of floats nor `Discrete`.
    """
    obs_size, actions = observation_size(observation_space), actions_of(action_space, action_scale)
    widths, act = [obs_size, *hidden, actions.size], ACTIVATIONS[activation]
    generator = torch.Generator().manual_seed(seed)
    reward = ExpectedReward(context, generator) if expects_reward else None
    network = mlp(widths, generator, act, layer_norm=layer_norm, last_std=last_layer_std, context=context)
    if isinstance(actions, DiscreteActions):
        return CategoricalMLP(actions, network, reward)
    return GaussianMLP(actions, network, init_std, reward)


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
