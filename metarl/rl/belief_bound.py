"""What VariBAD learns by: the evidence lower bound of the beliefs, and the policy's objectives under them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core import params as P
from metarl.core.distributions import Gaussian, Valued
from metarl.core.params import Params
from metarl.rl.belief import BeliefPolicy, in_units
from metarl.rl.lifetimes import LifetimeGradient, Lifetimes
from metarl.rl.recurrent import encoded


@dataclass(frozen=True)
class Believed(Valued):
    """Action distributions and values under beliefs, and how well the encoder's beliefs explain the lifetimes."""

    bound: Callable[[], Tensor]
    """Computes the evidence lower bound of each lifetime in nats a reward, `[K, E, 1]`: most losses do not ask."""


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

    def given(self, params: Params, lifetimes: Lifetimes) -> Lifetimes:
        """Return the lifetimes with the beliefs that were acted on, which these params, the same for all, had."""
        with torch.no_grad():
            beliefs = self._beliefs(P.stack(params, len(lifetimes)), lifetimes)
        return replace(lifetimes, context=beliefs * lifetimes.mask[..., None])

    def outputs(self, params: Params, episodes: Any) -> Believed:
        """Return the action distributions in every step, `[K, E L]`, under params that all tasks share.

        The policy acts on the beliefs that it had, however the encoder's have changed since.
        """
        start = episodes.obs.new_zeros(*episodes.mask.shape[:2], self.policy.size)
        valued, _ = functional_call(self.policy, self.own(params), (episodes.obs, start, episodes.context))
        return Believed(valued.actions, valued.value, valued.unit, lambda: self._bound(params, episodes))

    def elbo(self, new: Believed, lifetimes: Lifetimes) -> Tensor:
        """Return each task's evidence lower bound, in nats a reward, `[K]`; lifetimes count by their steps."""
        steps = lifetimes.lengths
        return (new.bound()[..., 0] * steps / steps.sum(-1, keepdim=True)).sum(-1)

    def _beliefs(self, params: Params, lifetimes: Lifetimes) -> Tensor:
        """Return mean and log-variance of the encoder's belief in every step, `[K, E, L, 2 d]`."""
        start = lifetimes.obs.new_zeros(*lifetimes.mask.shape[:2], self.policy.size)
        inputs = in_units(lifetimes.obs, params["reward_unit"], self.policy.obs_size)
        return functional_call(self.policy.encoder, P.of_part("encoder.", params), (inputs, start))[0]

    def _bound(self, params: Params, lifetimes: Lifetimes) -> Tensor:
        """Return E log p(rewards | m) - KL(belief, the belief before), mean over beliefs and rewards, `[K, E, 1]`.

        Zintgraf et al. 2020, equation 5, divided by H²; of long lifetimes, an estimate of it from a choice of beliefs
        and rewards that the noise makes, each step as likely as another.
        """
        beliefs = self._beliefs(params, lifetimes)
        mean, log_var = beliefs.chunk(2, dim=-1)
        mask, noise = lifetimes.mask, lifetimes.noise
        latents = mean + torch.exp(0.5 * log_var) * noise[..., : self.policy.latent]
        number = min(self.points, mask.shape[-1])
        # padding is chosen last, and does not count
        judged, rewards = ((noise[..., -i] + 1e3 * mask).topk(number, dim=-1).indices for i in (1, 2))
        steps = torch.cat([lifetimes.obs[..., : self.policy.obs_size], self._actions(lifetimes)], dim=-1)
        mean_rew, std_rew = params["reward_unit"].detach()[:, None, None].unbind(-1)
        rew = (lifetimes.rew.gather(2, rewards) - mean_rew) / std_rew
        decoder = P.of_part("decoder.", params)
        logp = functional_call(self.policy.decoder, decoder, (_at(latents, judged), _at(steps, rewards), rew))
        counts = mask.gather(2, judged)[..., None] * mask.gather(2, rewards)[..., None, :]
        explained = (logp * counts).sum((2, 3)) / counts.sum((2, 3))
        before = nn.functional.pad(beliefs[:, :, :-1], (0, 0, 1, 0))  # the prior has mean and log-variance 0
        kl = _normal(beliefs).kl(_normal(before))
        steps_taken = mask.sum(-1)
        return (explained - self.kl_coef * (kl * mask).sum(-1) / steps_taken.square())[..., None]

    def _actions(self, lifetimes: Lifetimes) -> Tensor:
        return encoded(self.policy.actor, lifetimes.act, lifetimes.rew.dtype)


def _normal(belief: Tensor) -> Gaussian:
    """Return the distribution of a belief's mean and log-variance, `[..., 2 d]`."""
    mean, log_var = belief.chunk(2, dim=-1)
    return Gaussian(mean, 0.5 * log_var)


def _at(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the values `[K, E, L, n]` in the steps chosen `[K, E, S]`, `[K, E, S, n]`."""
    return values.gather(2, chosen[..., None].expand(*chosen.shape, values.shape[-1]))
