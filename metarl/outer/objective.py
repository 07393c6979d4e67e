"""What an outer update may ask of the data of a meta-iteration."""

from __future__ import annotations

from typing import Protocol, Self

from torch import Tensor

State = dict[str, Tensor]
"""What an outer update remembers from one meta-iteration to the next; saved with the meta-params."""

Part = tuple[int, int, int]
"""An epoch, a part of the data that it shuffles, and how many parts there are."""

Updated = tuple[Tensor, State, dict[str, float]]
"""Meta-params `[P]`, the outer update's state, and what happened, for the logs."""


class MetaObjective(Protocol):
    """The meta-loss of all tasks of a meta-iteration, wherever their data lie; vectors are flat `[P]`.

    Losses, gradients and divergences are means over the tasks. The data never change; each answer depends on the
    arguments alone: not on what was asked before, nor on who owns which task. Gradients and products come in the
    precision of the params.
    """

    def given(self, **numbers: float) -> Self:
        """Return the objective whose meta-loss depends on these numbers (a penalty's coefficient, say)."""
        ...

    def loss_and_gradient(self, params: Tensor, part: Part | None = None) -> tuple[float, Tensor]:
        """Return the meta-loss and its gradient `[P]` at params `[P]`, on a part of the query data if given."""
        ...

    def loss_and_kl(self, params: Tensor) -> tuple[float, float]:
        """Return the meta-loss, and the KL divergence of the adapted policies from those that played."""
        ...

    def fisher_product(self, at: Tensor, vector: Tensor, stride: int) -> Tensor:
        """Return the Fisher matrix of the policies adapted from `at`, times a vector, from every stride-th sample.

        It is the Hessian of the KL divergence at the params that played the data, without what a first-order method
        leaves out.
        """
        ...

    def parts(self, wanted: int) -> int:
        """Return into how many parts each task's query data can be cut, where so many are wanted."""
        ...

    def support_kl(self, params: Tensor) -> float:
        """Return the KL divergence of the policies from those that played the support data."""
        ...

    def adapted(self) -> Tensor:
        """Return the mean of the tasks' adapted params, `[P]` in float64."""
        ...

    def step_moments(self, field: str) -> tuple[float, float]:
        """Return mean and mean square over the query steps of what a field of the data (`rew`, say) holds.

        Each task counts alike.
        """
        ...

    def return_moments(self) -> tuple[float, float]:
        """Return mean and mean square over tasks of the return after adaptation."""
        ...
