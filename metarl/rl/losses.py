"""What the learners ask of reinforcement learning: losses, divergences and Fisher products of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metarl.core.params import Params
from metarl.rl.episodes import Episodes
from metarl.rl.policies import Distribution, Policy, distribution

InnerLoss = Literal["likelihood-ratio", "log-likelihood"]


@dataclass(frozen=True)
class PolicyGradient:
    """The policy-gradient objectives of one policy network."""

    policy: Policy
    inner_loss: InnerLoss = "likelihood-ratio"

    def outputs(self, params: Params, episodes: Episodes) -> Distribution:
        """Return the action distributions in every state, `[K, E T]`, under stacked params."""
        return distribution(self.policy, params, episodes.obs.flatten(1, 2))

    def loss(self, params: Params, episodes: Episodes) -> Tensor:
        """Return each task's inner loss `[K]`, whose gradient is the policy gradient.

        The likelihood-ratio form π(a) / π_played(a) has the right second derivative too, and stays
        right at params other than those that played; the log-likelihood form, the original's, loses
        a term of the second derivative (Rothfuss et al. 2019, section 4).
        """
        logp = self.outputs(params, episodes).log_prob(episodes.act.flatten(1, 2))
        if self.inner_loss == "likelihood-ratio":
            score = self._ratio(logp, episodes.logp.flatten(1), episodes)
        else:
            score = logp
        return -(score * episodes.adv.flatten(1) * episodes.weight).sum(-1)

    def surrogate(self, new: Distribution, old: Distribution, episodes: Episodes) -> Tensor:
        """Return each task's importance-weighted surrogate loss, `[K]` (Schulman et al. 2015, equation 14)."""
        act = episodes.act.flatten(1, 2)
        ratio = self._ratio(new.log_prob(act), old.log_prob(act), episodes)
        return -(ratio * episodes.adv.flatten(1) * episodes.weight).sum(-1)

    def _ratio(self, new: Tensor, old: Tensor, episodes: Episodes) -> Tensor:
        """Return exp(new - old), `[K, E T]`, and 1 after an episode's end, where it might overflow."""
        return torch.exp((new - old) * episodes.mask.flatten(1))

    def kl(self, old: Distribution, new: Distribution, episodes: Episodes) -> Tensor:
        """Return each task's mean KL(old, new) over the steps taken, `[K]`."""
        return (old.kl(new) * episodes.weight).sum(-1)

    def fisher(self, at: Distribution, tangents: Sequence[Tensor], episodes: Episodes) -> tuple[Tensor, ...]:
        """Return the Hessian of the summed `kl` with respect to the distributions' parameters, times tangents."""
        return at.fisher(tangents, episodes.weight)
