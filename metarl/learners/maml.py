"""Model-agnostic meta-learning, second and first order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from metarl.core.adapt import adapt
from metarl.core.params import Params, stack
from metarl.core.trpo import TRPO
from metarl.errors import UserError

Data = TypeVar("Data", bound=Sized)


@dataclass(frozen=True)
class MAML:
    """Learn params from which a gradient step or a few adapt to a task (Finn et al. 2017, algorithms 1 and 3)."""

    inner_lr: float = 0.1
    """Step size of the inner gradient steps."""
    inner_steps: int = 1
    """Inner gradient steps, each on fresh data."""
    first_order: bool = False
    """Leave out the second derivatives (FOMAML)."""
    outer: TRPO = field(default_factory=TRPO)
    """How the meta-params move."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (math.isfinite(self.inner_lr) and self.inner_lr > 0):
            raise UserError(f"inner_lr must be positive and finite, got {self.inner_lr}")
        if self.inner_steps < 1:
            raise UserError(f"inner_steps must be at least 1, got {self.inner_steps}")

    def adapt(self, loss: Callable[[Params, Data], Tensor], params: Params, support: Sequence[Data]) -> Params:
        """Return each task's adapted params `[K, ...]`, differentiable with respect to the meta-params.

        Args:
            loss: Inner losses `[K]` of params stacked over tasks.
            params: Meta-params.
            support: Data of each inner step, for K tasks.
        """
        return adapt(loss, stack(params, len(support[0])), support, self.inner_lr, first_order=self.first_order)

    def inner_step(
        self, loss: Callable[[Params, Data], Tensor], adapted: Params, support: Data, scale: float = 1.0
    ) -> Params:
        """Return the stacked params `[K, ...]` after one inner step, as collecting data and testing need it."""
        return adapt(loss, adapted, [support], scale * self.inner_lr, create_graph=False)
