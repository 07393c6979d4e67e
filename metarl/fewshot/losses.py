"""What the methods ask of supervised tasks: losses, divergences and Fisher products of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core.distributions import Categorical, Distribution, Gaussian
from metarl.core.params import Params
from metarl.fewshot.images import SIDE
from metarl.fewshot.shots import Examples

PICTURES_AT_ONCE = 200
"""Pictures of 28 x 28 of all tasks that are computed together: with more, a loop over tasks would be faster."""


@dataclass(frozen=True)
class _Supervised(ABC):
    """What both kinds of tasks share."""

    network: nn.Module

    def threads(self) -> AbstractContextManager[None]:
        """Return the context in which torch differentiates: with all its threads."""
        return nullcontext()

    def own(self, params: Params) -> Params:
        """Return the network's own params, without what a method keeps beside them (step sizes, say)."""
        return {name: params[name] for name, _ in self.network.named_parameters()}

    def loss(self, params: Params, data: Examples, outputs: Distribution | None = None) -> Tensor:
        """Return each task's loss `[K]`; the outputs under these params are computed unless they are given."""
        return self.surrogate(outputs or self.outputs(params, data), None, data)

    def thin(self, support: Examples, stride: int) -> Examples:
        """Return all of the support data: they are few."""
        return support

    def kl(self, old: Distribution, new: Distribution, data: Examples) -> Tensor:
        """Return each task's mean KL(old, new), `[K]`."""
        return old.kl(new).mean(-1)

    def fisher(self, at: Distribution, tangents: Sequence[Tensor], data: Examples) -> tuple[Tensor, ...]:
        """Return the Hessian of the summed `kl` with respect to the distributions' parameters, times tangents."""
        each = tangents[0].shape[:2]
        return at.fisher(tangents, tangents[0].new_full(each, 1 / each[1]))

    @abstractmethod
    def outputs(self, params: Params, data: Examples) -> Distribution:
        """Return what the network says of each example under stacked params, `[K, N]`."""

    @abstractmethod
    def surrogate(self, new: Any, old: Any, data: Examples, clip: float | None = None) -> Tensor:
        """Return each task's loss `[K]`, whatever the outputs were before."""


@dataclass(frozen=True)
class Regression(_Supervised):
    """Mean squared error of one network (Finn et al. 2017, equation 2).

    What the network predicts is the mean of normal distributions of variance 1.
    """

    measure: ClassVar[str] = "loss"

    def tasks_at_once(self, data: Examples) -> int:
        """Return how many tasks to compute together: all of them, for they are small."""
        return len(data)

    def outputs(self, params: Params, data: Examples) -> Gaussian:
        """Return normal distributions around the predictions `[K, N, o]` under stacked params."""
        mean = functional_call(self.network, self.own(params), (data.x,))
        return Gaussian(mean, torch.zeros_like(mean[:, :1]))

    def surrogate(self, new: Gaussian, old: Any, data: Examples, clip: float | None = None) -> Tensor:
        """Return each task's loss `[K]`, whatever the outputs were before."""
        return (new.mean - data.y).square().flatten(1).mean(-1)

    def score(self, params: Params, data: Examples) -> Tensor:
        """Return each task's loss, `[K]`."""
        return self.loss(params, data)


@dataclass(frozen=True)
class Classification(_Supervised):
    """Cross-entropy of one network, whose outputs are logits (Finn et al. 2017, equation 3)."""

    measure: ClassVar[str] = "accuracy"

    def tasks_at_once(self, data: Examples) -> int:
        """Return how many tasks to compute together, so that what the layers return stays in the processor's cache."""
        numbers = data.x.shape[1] * max(data.x[0, 0].numel(), SIDE**2)
        return max(PICTURES_AT_ONCE * SIDE**2 // numbers, 2)

    def outputs(self, params: Params, data: Examples) -> Categorical:
        """Return the distributions over the classes under stacked params, log-probabilities `[K, N, ways]`."""
        logits = functional_call(self.network, self.own(params), (data.x,))
        return Categorical(torch.log_softmax(logits, dim=-1))

    def surrogate(self, new: Categorical, old: Any, data: Examples, clip: float | None = None) -> Tensor:
        """Return each task's loss `[K]`, whatever the outputs were before."""
        return -new.log_prob(data.y).mean(-1)

    def score(self, params: Params, data: Examples) -> Tensor:
        """Return the share of each task's examples whose class is found, `[K]`."""
        return (self.outputs(params, data).mode() == data.y).float().mean(-1)
