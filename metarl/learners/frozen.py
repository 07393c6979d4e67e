"""A method with some params left out of its inner loop at test time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from metarl.core.adam import State
from metarl.core.params import Params
from metarl.learners.learner import Loss, Problem, StepLearner, Updated


@dataclass(frozen=True)
class Frozen:
    """A method whose inner steps leave some params as they are (Raghu et al. 2020, section 3.1)."""

    learner: StepLearner
    names: frozenset[str]
    """The params left out."""

    plays_query: ClassVar[bool] = True

    @property
    def inner_steps(self) -> int:
        """Inner steps, each on fresh data."""
        return self.learner.inner_steps

    def initial(self, params: Params) -> Params:
        """Return the meta-params to begin with: the method's."""
        return self.learner.initial(params)

    def inner_step(self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0) -> Params:
        """Return the stacked params `[K, ...]` after one inner step of the others.

        A gradient step moves each param by its own gradient alone, so those frozen may be put back after it.
        """
        moved = self.learner.inner_step(loss, adapted, support, scale)
        return {name: adapted[name] if name in self.names else value for name, value in moved.items()}

    def initial_state(self, params: Tensor) -> State:
        """Return the outer update's state: it is for testing, there is none."""
        return {}

    def update(self, problem: Problem, params: Tensor, state: State) -> Updated:
        """Return the meta-params as they are: it is for testing."""
        return params, state, {}


def layers_of(names: Iterable[str]) -> list[list[str]]:
    """Group a network's params into its layers, in order; those of no layer (a policy's log_std) join the last."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    rest = layers.pop("", [])
    groups = list(layers.values())
    groups[-1] = groups[-1] + rest
    return groups
