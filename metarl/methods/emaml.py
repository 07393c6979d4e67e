"""E-MAML: the policies before adaptation are credited with what is reached after it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metarl.errors import UserError
from metarl.methods.maml import MAML
from metarl.methods.protocols import QUERY, Losses, Outputs, needs_episodes
from metarl.outer import MetaObjective, State, Updated


@dataclass(frozen=True)
class EMAML(MAML):
    """MAML plus the term that its derivation drops: the support data depend on the meta-params too.

    Its gradient is that of the log-likelihood of the support actions, times the return after
    adaptation (Stadie et al. 2018, equation 4), which is normalised over the tasks of the
    meta-iteration. A trust region bounds the adapted policies alone.

    The paper's estimator sums the log-likelihood over all support episodes. Ours is its mean over the steps, as in
    jonasrothfuss/ProMP, beside a surrogate that is a mean over the query steps too. So relative to that surrogate it
    is 1/E of the sum for E support episodes of one length: `exploration=E` has the paper's proportion. Where
    lengths differ, a task with long episodes weighs less than in the sum.
    """

    exploration: float = 1.0
    """Weight of the exploration term."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if getattr(self.outer, "minibatches", 1) > 1:
            raise UserError("E-MAML credits a task's actions with all of its returns: minibatches must be 1")
        if not 0 <= self.exploration < math.inf:
            raise UserError(f"exploration must be 0 or more and finite, got {self.exploration}")

    def meta_loss(
        self, losses: Losses, new: Outputs, old: Outputs, data: Sequence[Any], numbers: Mapping[str, float]
    ) -> Tensor:
        """Return the loss of the adapted policies plus the exploration term of every support phase, `[K]`."""
        total = super().meta_loss(losses, new, old, data, numbers)
        for step in range(self.inner_steps):
            credit = losses.exploration(new(step), data[step], data[QUERY], numbers["mean"], numbers["std"])
            total = total + self.exploration * credit
        return total

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the meta-params `[P]` after one update."""
        mean, square = objective.return_moments()
        objective = objective.given(mean=mean, std=math.sqrt(max(square - mean**2, 0.0)))
        return self.outer.update(objective, params, state)

    def check(self, settings: Any) -> None:
        """Refuse examples, and a single task, which leaves nothing to compare with."""
        needs_episodes(self, settings)
        if settings.tasks < 2:
            raise UserError("E-MAML needs at least 2 tasks: what exploration earns is relative to their mean")
