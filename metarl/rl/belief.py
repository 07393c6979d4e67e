"""A recurrent belief over the task, a policy that acts on it, and the evidence bound that it learns by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core.layers import mlp
from metarl.core.params import Params
from metarl.rl.distributions import Valued
from metarl.rl.gru import unroll
from metarl.rl.lifetimes import LifetimeGradient, Lifetimes
from metarl.rl.policies import make_policy, observation_size
from metarl.rl.recurrent import Critic, encoded, gated_unit

MIN_LOG_STD = -3.0
"""Floor of the decoder's log-std: rewards that it knows exactly would make the bound infinite."""


def gaussian_kl(mean: Tensor, log_var: Tensor, prior_mean: Tensor, prior_log_var: Tensor) -> Tensor:
    """Return KL(N(mean, var), N(prior_mean, prior_var)) of independent normals, summed over the last axis."""
    apart = (mean - prior_mean).square() * torch.exp(-prior_log_var)
    return 0.5 * (torch.exp(log_var - prior_log_var) + apart - 1 + prior_log_var - log_var).sum(-1)


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
            rew: The rewards, `[K, E, S]`; without them, the rewards expected are returned.
        """
        told = self.by_latent(latents.flatten(1, 2)).unflatten(1, latents.shape[1:3])
        done = self.by_step(steps.flatten(1, 2)).unflatten(1, steps.shape[1:3])
        features = torch.tanh(told[:, :, :, None] + done[:, :, None])
        mean = self.rest(features.flatten(1, 3)).view(features.shape[:-1])
        if rew is None:
            return mean
        log_std = self.log_std.clamp(min=MIN_LOG_STD)[:, :, None, None]
        z = (rew[:, :, None] - mean) * torch.exp(-log_std)
        return -0.5 * z.square() - log_std - 0.5 * np.log(2 * np.pi)


class BeliefPolicy(nn.Module):
    """A gated recurrent unit that keeps a Gaussian belief over a latent task, and a policy on state and belief.

    The unit reads one transition after another (observation, action, reward, whether the episode ended, next
    observation). The belief's mean and log-variance are linear in its memory, without biases, so before any transition
    the belief is the prior N(0, 1). The policy and the critic do not move the belief; the decoder does.

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
        generator = torch.Generator().manual_seed(seed + 1)
        weights = gated_unit(self.obs_size + self.before_size, self.size, generator)
        self.input_weight, self.input_bias, self.memory_weight, self.memory_bias = weights
        self.belief_weight = nn.Parameter(torch.empty(2 * latent, self.size))
        nn.init.xavier_uniform_(self.belief_weight, generator=generator)
        self.decoder = Decoder(latent, self.obs_size + action_size, decoder, generator)
        self.critic = Critic([self.obs_size + 2 * latent, *hidden[1:]], generator)

    def forward(self, inputs: Tensor, memory: Tensor) -> tuple[Valued, Tensor, Tensor, Tensor]:
        """Return action distributions and values `[K, E L]`, the memory `[K, E, h]`, and means and log-variances.

        Those of the beliefs that were acted on are `[K, E L, d]` each. Takes params stacked over tasks, `[K, ...]`,
        which are the same in every task.

        Args:
            inputs: Inputs in order of time, `[K, E, L, i]`: the observation, then the transition that led to it.
            memory: Memory before the first, `[K, E, h]`.
        """
        weights = self.input_weight, self.memory_weight, self.input_bias, self.memory_bias
        obs, begun = inputs[..., : self.obs_size], inputs[..., 0, self.obs_size]
        # a lifetime's first input holds no transition: nothing is known, and nothing is remembered
        start = torch.where(begun[..., None] > 0, unroll(inputs[:, :, :1], memory, weights)[:, :, 0], memory)
        states = start[:, :, None]
        if inputs.shape[2] > 1:
            states = torch.cat([states, unroll(inputs[:, :, 1:], start, weights)], dim=2)
        mean, log_var = self.belief(states.flatten(1, 2))
        seen = torch.cat([obs.flatten(1, 2), mean.detach(), log_var.detach()], dim=-1)
        return self.critic(self.actor(seen), seen), states[:, :, -1], mean, log_var

    def belief(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the task that memories `[K, N, h]` tell, `[K, N, d]` each."""
        mean, log_var = (states @ self.belief_weight.mT).chunk(2, dim=-1)
        return mean, log_var

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


@dataclass(frozen=True)
class Believed(Valued):
    """Action distributions and values under beliefs, and how well those beliefs explain the lifetimes."""

    elbo: Tensor
    """Evidence lower bound of each lifetime in nats a reward, `[K, E, 1]`."""


@dataclass(frozen=True)
class BeliefGradient(LifetimeGradient):
    """The policy-gradient objectives of a belief policy, and the evidence bound of its beliefs."""

    policy: BeliefPolicy
    points: int = 50
    """At most so many beliefs of a lifetime are judged, and by so many of its rewards."""
    kl_coef: float = 1.0
    """Weight of the bound's KL term."""

    @property
    def noise_size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A sample of the latent task in every step, and two numbers by which steps are chosen."""
        return self.policy.latent + 2

    def outputs(self, params: Params, episodes: Any) -> Believed:
        """Return the action distributions in every step, `[K, E L]`, under params that all tasks share."""
        start = episodes.obs.new_zeros(*episodes.mask.shape[:2], self.policy.size)
        valued, _, mean, log_var = functional_call(self.policy, self.own(params), (episodes.obs, start))
        decoder = {n.removeprefix("decoder."): v for n, v in params.items() if n.startswith("decoder.")}
        mean, log_var = (value.view(*episodes.mask.shape, -1) for value in (mean, log_var))
        return Believed(valued.actions, valued.value, valued.unit, self._bound(decoder, mean, log_var, episodes))

    def elbo(self, new: Believed, lifetimes: Lifetimes) -> Tensor:
        """Return each task's evidence lower bound, in nats a reward, `[K]`; lifetimes count by their steps."""
        steps = lifetimes.lengths
        return (new.elbo[..., 0] * steps / steps.sum(-1, keepdim=True)).sum(-1)

    def _bound(self, decoder: Params, mean: Tensor, log_var: Tensor, lifetimes: Lifetimes) -> Tensor:
        """Return E log p(rewards | m) - KL(belief, the belief before), mean over beliefs and rewards, `[K, E, 1]`.

        Zintgraf et al. 2020, equation 5, divided by H²; of long lifetimes, an estimate of it from a choice of beliefs
        and rewards that the noise makes, each step as likely as another.
        """
        mask, noise = lifetimes.mask, lifetimes.noise
        latents = mean + torch.exp(0.5 * log_var) * noise[..., : self.policy.latent]
        number = min(self.points, mask.shape[-1])
        # padding is chosen last, and does not count
        beliefs, rewards = ((noise[..., -i] + 1e3 * mask).topk(number, dim=-1).indices for i in (1, 2))
        steps = torch.cat([lifetimes.obs[..., : self.policy.obs_size], self._actions(lifetimes)], dim=-1)
        rew = lifetimes.rew.gather(2, rewards)
        logp = functional_call(self.policy.decoder, decoder, (_at(latents, beliefs), _at(steps, rewards), rew))
        counts = mask.gather(2, beliefs)[..., None] * mask.gather(2, rewards)[..., None, :]
        explained = (logp * counts).sum((2, 3)) / counts.sum((2, 3))
        before_mean, before_log_var = (nn.functional.pad(value[:, :, :-1], (0, 0, 1, 0)) for value in (mean, log_var))
        kl = gaussian_kl(mean, log_var, before_mean, before_log_var)
        steps_taken = mask.sum(-1)
        return (explained - self.kl_coef * (kl * mask).sum(-1) / steps_taken.square())[..., None]

    def _actions(self, lifetimes: Lifetimes) -> Tensor:
        return encoded(self.policy.actor, lifetimes.act, lifetimes.rew.dtype)


def _at(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the values `[K, E, L, n]` in the steps chosen `[K, E, S]`, `[K, E, S, n]`."""
    return values.gather(2, chosen[..., None].expand(*chosen.shape, values.shape[-1]))
