"""The networks of VariBAD: a recurrent belief over the task, a policy that acts on it, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl.core.distributions import Valued
from metarl.core.layers import mlp
from metarl.core.params import Params, of_part
from metarl.rl import gru
from metarl.rl.policies import make_policy, observation_size
from metarl.rl.recurrent import Critic, encoded, gated_unit
from metarl.seeding import seed_of_part

MIN_LOG_STD = -3.0
"""Floor of the decoder's log-std: rewards that it knows exactly would make the bound infinite."""


class Decoder(nn.Module):
    """What a task's latent vector says about rewards: N(perceptron of state, action and latent, learned std).

    Args:
        latent: Size of the latent vector.
        inputs: Numbers of an observation and an action.
        width: Width of both hidden layers.
        generator: Source of the initial weights.
    """

    def __init__(self, latent: int, inputs: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.zeros(1))
        self.by_latent = mlp([latent, width], generator)
        self.by_step = mlp([inputs, width], generator)
        self.rest = mlp([width, width, 1], generator)

    def forward(self, latents: Tensor, steps: Tensor, rew: Tensor | None = None) -> Tensor:
        """Return the log-density of the reward of each of S steps given each of M latent vectors, `[K, E, M, S]`.

        Args:
            latents: Latent vectors, `[K, E, M, d]`.
            steps: Observations and actions, `[K, E, S, o + a]`.
            rew: The rewards, `[K, E, S]`; without them, the rewards expected are returned. Both are in units of theirs.
        """
        of_task = self.by_latent(latents.flatten(1, 2)).unflatten(1, latents.shape[1:3])
        of_step = self.by_step(steps.flatten(1, 2)).unflatten(1, steps.shape[1:3])
        features = torch.tanh(of_task[:, :, :, None] + of_step[:, :, None])
        mean = self.rest(features.flatten(1, 3)).view(features.shape[:-1])
        if rew is None:
            return mean
        log_std = self.log_std.clamp(min=MIN_LOG_STD)[:, :, None, None]
        z = (rew[:, :, None] - mean) * torch.exp(-log_std)
        return -0.5 * z.square() - log_std - 0.5 * np.log(2 * np.pi)


def in_units(inputs: Tensor, unit: Tensor, obs_size: int) -> Tensor:
    """Return a policy's inputs `[K, E, L, i]` with their rewards in units of mean and standard deviation `[K, 2]`.

    The first input of a lifetime, whose reward is none, stays zero there.
    """
    mean, std = unit.detach()[:, None, None].unbind(-1)
    rew = (inputs[..., -2] - mean) / std * inputs[..., obs_size]
    return torch.cat([inputs[..., :-2], rew[..., None], inputs[..., -1:]], dim=-1)


def _seen(inputs: Tensor, beliefs: Tensor, obs_size: int) -> Tensor:
    """Return what policy and critic see, `[K, E L, o + 2 d]`: observations, and beliefs, which they do not move.

    Of a belief that is mean and standard deviation: a log-variance would go to -10, where the task is clear.
    """
    mean, log_var = beliefs.detach().chunk(2, dim=-1)
    return torch.cat([inputs[..., :obs_size], mean, torch.exp(0.5 * log_var)], dim=-1).flatten(1, 2)


class Encoder(nn.Module):
    """A gated recurrent unit that keeps a Gaussian belief over a latent task.

    The unit reads one transition after another (observation, action, reward, whether the episode ended, next
    observation). The belief's mean and log-variance are linear in its memory, without biases, so before any transition
    the belief is the prior N(0, 1).

    Args:
        obs_size: Numbers of an observation.
        inputs: Numbers of an input: the observation, and the transition that led to it.
        size: Size h of the memory.
        latent: Size d of the latent task.
        generator: Source of the initial weights.
    """

    def __init__(self, obs_size: int, inputs: int, size: int, latent: int, generator: torch.Generator) -> None:
        super().__init__()
        self.obs_size = obs_size
        weights = gated_unit(inputs, size, generator)
        self.input_weight, self.input_bias, self.memory_weight, self.memory_bias = weights
        self.posterior_weight = nn.Parameter(torch.empty(2 * latent, size))
        nn.init.xavier_uniform_(self.posterior_weight, generator=generator)

    def forward(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the belief at each input, `[K, E, L, 2 d]`, and the memory after the last.

        Takes params stacked over tasks, `[K, ...]`, which are the same in every task.

        Args:
            inputs: Inputs in order of time, `[K, E, L, i]`.
            memory: Memory before the first, `[K, E, h]`.
        """
        weights = self.input_weight, self.memory_weight, self.input_bias, self.memory_bias
        return self._read(lambda x, before: gru.unroll(x, before, weights), self.posterior_weight, inputs, memory)

    def prepared(self, params: Params) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return the forward pass under stacked params that stay the same, of inputs and memory."""
        weights = params["input_weight"], params["memory_weight"], params["input_bias"], params["memory_bias"]
        remember = gru.prepared(weights)
        return partial(self._read, lambda x, before: remember(x, before)[0], params["posterior_weight"])

    def _read(
        self, states_of: Callable[[Tensor, Tensor], Tensor], posterior_weight: Tensor, inputs: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return beliefs and the memory after the last, from what gives the memory after each input."""
        begun = inputs[..., 0, self.obs_size]
        # a lifetime's first input holds no transition: nothing is known, and nothing is remembered
        start = torch.where(begun[..., None] > 0, states_of(inputs[:, :, :1], memory)[:, :, 0], memory)
        states = start[:, :, None]
        if inputs.shape[2] > 1:
            states = torch.cat([states, states_of(inputs[:, :, 1:], start)], dim=2)
        beliefs = (states.flatten(1, 2) @ posterior_weight.mT).unflatten(1, states.shape[1:3])
        return beliefs, states[:, :, -1]


class BeliefPolicy(nn.Module):
    """An encoder of the past into a belief over a latent task, and a policy and a critic on state and belief.

    Policy and critic do not move the belief; the decoder does. Encoder and decoder have rewards in units of their mean
    and standard deviation.

    Args:
        observation_space: The environment's observations, a `Box`.
        action_space: The environment's actions, `Box` or `Discrete`.
        hidden: Size of the memory, then the width of each hidden layer of the policy network, and of the critic.
        seed: Seed of the initial weights.
        init_std: Standard deviation to begin with, in the policy's units.
        action_scale: Environment actions are this times the policy's.
        latent: Size d of the latent task.
        decoder: Width of the decoder's layers.
    """

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        hidden: Sequence[int],
        seed: int,
        init_std: float = 1.0,
        action_scale: float = 1.0,
        latent: int = 5,
        decoder: int = 32,
    ) -> None:
        super().__init__()
        self.size, self.latent, self.obs_size = hidden[0], latent, observation_size(observation_space)
        features = spaces.Box(-np.inf, np.inf, (self.obs_size + 2 * latent,))
        self.actor = make_policy(features, action_space, hidden[1:], seed, init_std, action_scale)
        action_size = self.actor.actions.size
        self.before_size = self.obs_size + action_size + 3
        generator = torch.Generator().manual_seed(seed_of_part(seed))
        self.encoder = Encoder(self.obs_size, self.obs_size + self.before_size, self.size, latent, generator)
        self.decoder = Decoder(latent, self.obs_size + action_size, decoder, generator)
        self.reward_unit = nn.Parameter(torch.tensor([0.0, 1.0]))
        self.critic = Critic([self.obs_size + 2 * latent, *hidden[1:]], generator)

    def forward(self, inputs: Tensor, memory: Tensor, beliefs: Tensor | None = None) -> tuple[Valued, Tensor]:
        """Return action distributions and values `[K, E L]`, and the memory `[K, E, h]` after the last input.

        Takes params stacked over tasks, `[K, ...]`, which are the same in every task.

        Args:
            inputs: Inputs in order of time, `[K, E, L, i]`: the observation, then the transition that led to it.
            memory: Memory before the first, `[K, E, h]`.
            beliefs: Beliefs to act on, `[K, E, L, 2 d]`; without them those that the encoder has, which it reads.
        """
        held = beliefs
        if held is None:
            held, memory = self.encoder(in_units(inputs, self.reward_unit, self.obs_size), memory)
        seen = _seen(inputs, held, self.obs_size)
        return self.critic(self.actor(seen), seen), memory

    def prepared(self, params: Params) -> Callable[[Tensor, Tensor], tuple[Any, Tensor]]:
        """Return the forward pass under stacked params that stay the same, without the critic, of inputs and memory."""
        actor = self.actor.prepared(of_part("actor.", params))
        encoder = self.encoder.prepared(of_part("encoder.", params))

        def forward(inputs: Tensor, memory: Tensor) -> tuple[Any, Tensor]:
            held, after = encoder(in_units(inputs, params["reward_unit"], self.obs_size), memory)
            return actor(_seen(inputs, held, self.obs_size)), after

        return forward

    def seen(self, obs: Tensor, act: Tensor, rew: Tensor, ended: Tensor) -> Tensor:
        """Return what the inputs of the next step hold of this one, `[..., before_size]`.

        Its first number is 1, which tells it from the start of a lifetime.
        """
        there = torch.ones_like(rew)[..., None]
        return torch.cat([there, obs, encoded(self.actor, act, rew.dtype), rew[..., None], ended[..., None]], dim=-1)

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw the noise that actions are sampled with."""
        return self.actor.noise(rng, shape)

    def env_action(self, act: Tensor) -> NDArray[Any]:
        """Return the actions that the environment takes."""
        return self.actor.env_action(act)
