"""What the methods ask of reinforcement learning: losses, divergences and Fisher products of a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from metarl.core.distributions import Distribution
from metarl.core.params import Params
from metarl.errors import UserError
from metarl.rl.episodes import Episodes
from metarl.rl.policies import distribution, expected_reward

INNER_LOSSES = ("likelihood-ratio", "log-likelihood", "dice")
"""Forms of the inner loss there are."""

STEPS_AT_ONCE = 16_000
"""Steps of all tasks that are computed together, or those of one task: with more, half as much time again goes by."""

InnerLoss = str | Callable[[Any, Episodes], Tensor]
"""One of `INNER_LOSSES`; or from the action distributions in every step `[K, E T]` and the episodes to losses `[K]`."""


@dataclass(frozen=True)
class PolicyGradient:
    """The policy-gradient objectives of one policy network."""

    policy: nn.Module
    inner_loss: InnerLoss = "likelihood-ratio"
    reward_coef: float = 0.0
    """Weight of how wrong the context is about the mean reward, in the inner loss."""

    def threads(self) -> AbstractContextManager[None]:
        """Return the context in which torch differentiates: with all its threads."""
        return nullcontext()

    def tasks_at_once(self, data: Episodes) -> int:
        """Return how many tasks to compute together, so that what the layers return stays in the processor's cache."""
        _, episodes, time = data.mask.shape
        return max(STEPS_AT_ONCE // (episodes * time), 1)

    def own(self, params: Params) -> Params:
        """Return the policy's own params, without what a method keeps beside them (step sizes, say)."""
        return {name: params[name] for name, _ in self.policy.named_parameters()}

    def outputs(self, params: Params, episodes: Episodes) -> Distribution:
        """Return the action distributions in every state, `[K, E T]`, under stacked params."""
        return distribution(self.policy, self.own(params), episodes.obs.flatten(1, 2))

    def loss(self, params: Params, episodes: Episodes, outputs: Distribution | None = None) -> Tensor:
        """Return each task's inner loss `[K]`, whose gradient is the policy gradient.

        The likelihood-ratio form π(a) / π_played(a) stays right at params other than those that played, and
        its second derivative has two of the three terms of the true one: it neglects how an action changes
        the later steps that its reward depends on. The log-likelihood form, the original's, loses more
        (Rothfuss et al. 2019, section 5 and equation 10). DiCE's second derivative is right in expectation:
        each step's ratio counts the steps before it too; its variance is large.

        With `reward_coef` half the squared error of the mean reward that the context tells is added, so that a step
        moves the context by it. A policy gradient says which actions make rewards better, not how good they are.

        The outputs under these params are computed unless they are given.
        """
        losses = self._policy_loss(outputs or self.outputs(params, episodes), episodes)
        if not self.reward_coef:
            return losses
        mean = (episodes.rew.flatten(1) * episodes.weight).sum(-1)
        return losses + 0.5 * self.reward_coef * (mean - expected_reward(self.own(params))).square()

    def _policy_loss(self, outputs: Distribution, episodes: Episodes) -> Tensor:
        if callable(self.inner_loss):
            losses = self.inner_loss(outputs, episodes)
            if losses.shape != (len(episodes),):
                raise UserError(f"an inner loss returns a number a task, [{len(episodes)}], got {list(losses.shape)}")
            return losses
        logp = outputs.log_prob(episodes.act.flatten(1, 2))
        if self.inner_loss == "likelihood-ratio":
            score = self._ratio(logp, episodes.logp.flatten(1), episodes)
        elif self.inner_loss == "dice":
            score = self._magic_box(logp, episodes)
        else:
            score = logp
        return -(score * episodes.adv.flatten(1) * episodes.weight).sum(-1)

    def _magic_box(self, logp: Tensor, episodes: Episodes) -> Tensor:
        """Return the ratio of each episode up to a step minus that before it (Farquhar et al. 2019, equation 10).

        Times the advantages and summed, its first derivative is the policy gradient, `[K, E T]`.
        """
        steps = (logp.view_as(episodes.mask) - episodes.logp) * episodes.mask
        through = steps.cumsum(-1)
        return (torch.exp(through) - torch.exp(through - steps)).flatten(1)

    def thin(self, support: Episodes, stride: int) -> Episodes:
        """Return every stride-th step for a cheaper curvature, where the inner loss is a sum over steps.

        With `reward_coef` the mean reward is then that of these steps.
        """
        sums_over_steps = self.inner_loss in ("likelihood-ratio", "log-likelihood")
        return support.every_nth_step(stride) if sums_over_steps else support

    def surrogate(self, new: Distribution, old: Distribution, data: Episodes, clip: float | None = None) -> Tensor:
        """Return each task's importance-weighted surrogate loss, `[K]` (Schulman et al. 2015, equation 14).

        With `clip`, ratios beyond 1 ± clip earn nothing more (Schulman et al. 2017, equation 7).
        """
        act, adv = data.act.flatten(1, 2), data.adv.flatten(1)
        ratio = self._ratio(new.log_prob(act), old.log_prob(act), data)
        gain = ratio * adv
        if clip is not None:
            gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * adv)
        return -(gain * data.weight).sum(-1)

    def exploration(self, new: Distribution, support: Episodes, query: Episodes, mean: float, std: float) -> Tensor:
        """Return the loss `[K]` of support actions credited with the task's return after adaptation.

        Args:
            new: Distributions on the support data.
            support: The support data.
            query: The query data, whose mean return per task is the credit.
            mean: Mean of those returns over all tasks, which is subtracted.
            std: Their standard deviation, which divides.
        """
        logp = new.log_prob(support.act.flatten(1, 2))
        ratio = self._ratio(logp, support.logp.flatten(1), support)
        # in float64, as those two: the difference of equal returns, divided by nearly nothing, must be nothing
        credit = (query.returns.double().mean(1) - mean) / (max(std, 1e-6 * abs(mean)) + 1e-8)
        return -credit.to(ratio.dtype) * (ratio * support.weight).sum(-1)

    def entropy(self, new: Distribution, data: Episodes) -> Tensor:
        """Return each task's mean entropy of the action distributions over the steps taken, `[K]`."""
        return (new.entropy() * data.weight).sum(-1)

    def _ratio(self, new: Tensor, old: Tensor, episodes: Episodes) -> Tensor:
        """Return exp(new - old), `[K, E T]`, and 1 after an episode's end, where it might overflow."""
        return torch.exp((new - old) * episodes.mask.flatten(1))

    def kl(self, old: Distribution, new: Distribution, episodes: Episodes) -> Tensor:
        """Return each task's mean KL(old, new) over the steps taken, `[K]`."""
        return (old.kl(new) * episodes.weight).sum(-1)

    def fisher(self, at: Distribution, tangents: Sequence[Tensor], episodes: Episodes) -> tuple[Tensor, ...]:
        """Return the Hessian of the summed `kl` with respect to the distributions' parameters, times tangents."""
        return at.fisher(tangents, episodes.weight)
