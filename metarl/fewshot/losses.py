"""What the methods ask of supervised tasks: losses, divergences and Fisher products of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core.params import Params
from metarl.fewshot.shots import Examples

PICTURES_AT_ONCE = 200
"""Pictures of all tasks that are computed together: with more, a loop over tasks would be faster."""


@dataclass(frozen=True)
class Outputs:
    """What a network says of N examples of K tasks: predictions, or log-probabilities of classes."""

    values: Tensor
    """`[K, N, o]`."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The values."""
        return (self.values,)


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

    def loss(self, params: Params, data: Examples, outputs: Outputs | None = None) -> Tensor:
        """Return each task's loss `[K]`; the outputs under these params are computed unless they are given."""
        return self.surrogate(outputs or self.outputs(params, data), None, data)

    def thin(self, support: Examples, stride: int) -> Examples:
        """Return all of the support data: they are few."""
        return support

    @abstractmethod
    def outputs(self, params: Params, data: Examples) -> Outputs:
        """Return what the network says under stacked params."""

    @abstractmethod
    def surrogate(self, new: Outputs, old: Outputs | None, data: Examples, clip: float | None = None) -> Tensor:
        """Return each task's loss `[K]`, whatever the outputs were before."""


@dataclass(frozen=True)
class Regression(_Supervised):
    """Mean squared error of one network (Finn et al. 2017, equation 2).

    Divergences are those of normal distributions of variance 1 around the predictions.
    """

    measure: ClassVar[str] = "loss"

    def tasks_at_once(self, data: Examples) -> int:
        """Return how many tasks to compute together: all of them, for they are small."""
        return len(data)

    def outputs(self, params: Params, data: Examples) -> Outputs:
        """Return the predictions under stacked params, `[K, N, o]`."""
        return Outputs(functional_call(self.network, self.own(params), (data.x,)))

    def surrogate(self, new: Outputs, old: Outputs | None, data: Examples, clip: float | None = None) -> Tensor:
        """Return each task's loss `[K]`, whatever the outputs were before."""
        return (new.values - data.y).square().flatten(1).mean(-1)

    def score(self, outputs: Outputs, data: Examples) -> Tensor:
        """Return each task's loss, `[K]`."""
        return self.surrogate(outputs, None, data)

    def kl(self, old: Outputs, new: Outputs, data: Examples) -> Tensor:
        """Return each task's mean KL(old, new), `[K]`."""
        return 0.5 * (old.values - new.values).square().sum(-1).mean(-1)

    def fisher(self, at: Outputs, tangents: Sequence[Tensor], data: Examples) -> tuple[Tensor, ...]:
        """Return the Hessian of the summed `kl` with respect to the predictions, times tangents."""
        return (tangents[0] / tangents[0].shape[1],)


@dataclass(frozen=True)
class Classification(_Supervised):
    """Cross-entropy of one network, whose outputs are logits (Finn et al. 2017, equation 3)."""

    measure: ClassVar[str] = "accuracy"

    def tasks_at_once(self, data: Examples) -> int:
        """Return how many tasks to compute together, so that what the layers return stays in the processor's cache."""
        return max(PICTURES_AT_ONCE // data.x.shape[1], 2)

    def outputs(self, params: Params, data: Examples) -> Outputs:
        """Return the log-probabilities of the classes under stacked params, `[K, N, ways]`."""
        logits = functional_call(self.network, self.own(params), (data.x,))
        return Outputs(torch.log_softmax(logits, dim=-1))

    def surrogate(self, new: Outputs, old: Outputs | None, data: Examples, clip: float | None = None) -> Tensor:
        """Return each task's loss `[K]`, whatever the outputs were before."""
        return -new.values.gather(-1, data.y.unsqueeze(-1)).squeeze(-1).mean(-1)

    def score(self, outputs: Outputs, data: Examples) -> Tensor:
        """Return the share of each task's examples whose class is found, `[K]`."""
        return (outputs.values.argmax(-1) == data.y).float().mean(-1)

    def kl(self, old: Outputs, new: Outputs, data: Examples) -> Tensor:
        """Return each task's mean KL(old, new), `[K]`."""
        return (old.values.exp() * (old.values - new.values)).sum(-1).mean(-1)

    def fisher(self, at: Outputs, tangents: Sequence[Tensor], data: Examples) -> tuple[Tensor, ...]:
        """Return the Hessian of the summed `kl` with respect to the log-probabilities, times tangents."""
        (tangent,) = tangents
        p = at.values.exp()
        return (p * (tangent - (p * tangent).sum(-1, keepdim=True)) / p.shape[1],)
