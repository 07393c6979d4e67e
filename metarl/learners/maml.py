"""Model-agnostic meta-learning, second and first order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from metarl.core.adam import State
from metarl.core.adapt import adapt
from metarl.core.params import Params, stack
from metarl.core.trpo import TRPO
from metarl.errors import UserError, check_counts, check_positive
from metarl.learners.learner import QUERY, Data, Loss, Losses, Outer, Outputs, Problem, Updated


@dataclass(frozen=True)
class MAML:
    """Learn params from which a gradient step or a few adapt to a task (Finn et al. 2017, algorithms 1 and 3)."""

    inner_lr: float = 0.1
    """Step size of the inner gradient steps."""
    inner_steps: int = 1
    """Inner gradient steps, each on fresh data."""
    first_order: bool = False
    """Leave out the second derivatives (FOMAML)."""
    outer: Outer = field(default_factory=TRPO)
    """How the meta-params move."""

    plays_query: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_positive(inner_lr=self.inner_lr)
        check_counts(inner_steps=(self.inner_steps, 1))
        if not isinstance(self.outer, Outer):
            raise UserError(
                f"{type(self).__name__}'s outer update is TRPO, PPO or Adam, got {type(self.outer).__name__}"
            )

    def initial(self, params: Params) -> Params:
        """Return the meta-params to begin with: the network's."""
        return params

    def inner_step(
        self, loss: Loss[Data], adapted: Params, support: Data, scale: float = 1.0, *, create_graph: bool = False
    ) -> Params:
        """Return the stacked params `[K, ...]` after one inner step; without a graph for collecting and testing."""
        rate = scale * self.inner_lr
        return adapt(loss, adapted, [support], rate, first_order=self.first_order, create_graph=create_graph)

    def adapt(self, loss: Loss[Data], params: Params, support: Sequence[Data]) -> Params:
        """Return each task's adapted params `[K, ...]`, differentiable with respect to the meta-params.

        Args:
            loss: Inner losses `[K]` of params stacked over tasks.
            params: Meta-params.
            support: Data of each inner step, for K tasks.
        """
        adapted = stack(params, len(support[0]))
        for data in support:
            adapted = self.inner_step(loss, adapted, data, create_graph=True)
        return adapted

    def objective(
        self, losses: Losses, new: Outputs, old: Outputs, data: Sequence[Data], numbers: Mapping[str, float]
    ) -> Tensor:
        """Return the loss of the adapted policies on the query data, `[K]` (Finn et al. 2017, algorithm 3, line 10)."""
        return losses.surrogate(new(QUERY), old(QUERY), data[QUERY], self.outer.clip)

    def initial_state(self, params: Tensor) -> State:
        """Return the outer update's state before the first update."""
        return self.outer.initial_state(params)

    def update(self, problem: Problem, params: Tensor, state: State) -> Updated:
        """Return the meta-params `[P]` after one update."""
        return self.outer.update(problem, params, state)
