"""Model-agnostic meta-learning, second and first order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from metarl.core.gradient_step import Rate, gradient_step
from metarl.core.params import Params
from metarl.errors import UserError, check_counts, check_fields, check_positive
from metarl.methods.protocols import Loss, Method
from metarl.outer import PPO, TRPO, Adam


@dataclass(frozen=True)
class MAML(Method):
    """Learn params from which a gradient step or a few adapt to a task (Finn et al. 2017, algorithms 1 and 3).

    The meta-loss is that of the adapted policies on the query data (algorithm 3, line 10).
    """

    inner_lr: float = 0.1
    """Step size of the inner gradient steps."""
    inner_steps: int = 1
    """Inner gradient steps, each on fresh data."""
    first_order: bool = False
    """Leave out the second derivatives (FOMAML)."""
    outer: TRPO | PPO | Adam = field(default_factory=TRPO)
    """How the meta-params move."""

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self, "outer")
        check_positive(inner_lr=self.inner_lr)
        check_counts(inner_steps=(self.inner_steps, 1))
        if not isinstance(self.outer, TRPO | PPO | Adam):
            raise UserError(
                f"{type(self).__name__}'s outer update is TRPO, PPO or Adam, got {type(self.outer).__name__}"
            )

    @property
    def hears_rewards(self) -> bool:
        """Whether the inner step makes something of the mean reward that a context tells (`reward_coef`).

        For that it moves the context, once, and the outer update differentiates it.
        """
        return self.inner_steps == 1 and not self.first_order

    def inner_step(
        self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0, *, create_graph: bool = False
    ) -> Params:
        """Return the stacked params `[K, ...]` after one gradient step."""
        return gradient_step(
            loss,
            adapted,
            support,
            self.rates(adapted, scale),
            names=self.moved(adapted),
            first_order=self.first_order,
            create_graph=create_graph,
        )

    def moved(self, names: Iterable[str]) -> list[str]:
        """Return which of the params an inner step moves: all."""
        return list(names)

    def rates(self, adapted: Params, scale: float) -> Rate:
        """Return how far: one step size, or that of each param moved."""
        return scale * self.inner_lr
