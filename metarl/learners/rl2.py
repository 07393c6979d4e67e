"""RL²: a recurrent policy whose memory learns the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from metarl.core.adam import PPO, Adam, State
from metarl.core.params import Params
from metarl.errors import UserError
from metarl.learners.learner import QUERY, Data, Losses, Outputs, Problem, Updated


@dataclass(frozen=True)
class RL2:
    """Train a recurrent policy for the return of lifetimes of several episodes in one task (Duan et al. 2016).

    Nothing adapts but the policy's memory, which begins empty with each lifetime. The first width in
    `hidden` is the memory's size; `episodes` counts the lifetimes played in each task.
    """

    lifetime: int = 5
    """Episodes of a lifetime."""
    outer: PPO | Adam = field(default_factory=lambda: PPO(outer_lr=3e-3, epochs=5, clip=0.2, minibatches=4))
    """How the params move."""

    plays_query: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.lifetime < 2:
            raise UserError(
                f"lifetime must be at least 2 episodes, so that there is something to learn from; got {self.lifetime}"
            )
        if not isinstance(self.outer, PPO | Adam):
            raise UserError(f"RL²'s outer update is PPO or Adam, got {type(self.outer).__name__}")

    @property
    def inner_steps(self) -> int:
        """Episodes of a lifetime that others follow."""
        return self.lifetime - 1

    def initial(self, params: Params) -> Params:
        """Return the params to begin with: the network's."""
        return params

    def objective(
        self, losses: Losses, new: Outputs, old: Outputs, data: Sequence[Data], numbers: Mapping[str, float]
    ) -> Tensor:
        """Return the clipped loss of whole lifetimes, `[K]`."""
        return losses.surrogate(new(QUERY), old(QUERY), data[QUERY], self.outer.clip)

    def initial_state(self, params: Tensor) -> State:
        """Return the outer update's state before the first update."""
        return self.outer.initial_state(params)

    def update(self, problem: Problem, params: Tensor, state: State) -> Updated:
        """Return the params `[P]` after one update."""
        return self.outer.update(problem, params, state)
