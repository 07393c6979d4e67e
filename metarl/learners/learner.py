"""What the workers and the training loop ask of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor

from metarl.core.adam import PPO, Adam, Part, State
from metarl.core.params import Params
from metarl.core.trpo import TRPO

Data = TypeVar("Data", bound=Sized)
Loss = Callable[[Params, Data], Tensor]
"""From params stacked over tasks `[K, ...]` and data to one loss a task, `[K]`."""

Outer = TRPO | PPO | Adam
Updated = tuple[Tensor, State, dict[str, float]]
"""Meta-params `[P]`, the outer update's state, and what happened."""

QUERY = -1
"""The phase of the query data; 0, 1, ... are those of the support data."""

Outputs = Callable[[int], Any]
"""From a phase to the policies' distributions on its data."""


class Losses(Protocol):
    """What a method knows of the data: losses of distributions on it, one a task `[K]`."""

    def surrogate(self, new: Any, old: Any, data: Any, clip: float | None = None) -> Tensor:
        """Return the importance-weighted loss of the policies `new` on data that `old` played."""
        ...

    def kl(self, old: Any, new: Any, data: Any, /) -> Tensor:
        """Return the mean KL(old, new)."""
        ...

    def exploration(self, new: Any, support: Any, query: Any, mean: float, std: float) -> Tensor:
        """Return the loss that credits the support data with the normalised return of the query data."""
        ...


class Problem(Protocol):
    """All tasks of a meta-iteration and their data, wherever they are; vectors are flat `[P]`."""

    def loss_and_gradient(self, params: Tensor, part: Part | None = None) -> tuple[float, Tensor]:
        """Return the mean objective over all tasks and its gradient, on a part of each task's query data if given."""
        ...

    def parts(self, wanted: int) -> int:
        """Return into how many parts each task's query data can be cut, where so many are wanted."""
        ...

    def fisher_product(self, vector: Tensor, stride: int) -> Tensor:
        """Return the Fisher matrix of the adapted policies times a vector, from every stride-th sample."""
        ...

    def loss_and_kl(self, params: Tensor) -> tuple[float, float]:
        """Return the mean objective, and the KL divergence of the adapted policies from those that played."""
        ...

    def support_kl(self, params: Tensor) -> float:
        """Return the mean KL divergence of the policies from those that played the support data."""
        ...

    def adapted(self) -> Tensor:
        """Return the mean of the tasks' adapted params."""
        ...

    def return_moments(self) -> tuple[float, float]:
        """Return mean and mean square over tasks of the return after adaptation."""
        ...

    def prepare(self, numbers: Mapping[str, float]) -> None:
        """Tell all workers the numbers that this meta-iteration's objective depends on."""
        ...


class Learner(Protocol):
    """A method."""

    @property
    def inner_steps(self) -> int:
        """Inner steps, each on fresh data."""
        ...

    plays_query: ClassVar[bool]
    """Whether the update needs data played by the adapted policies."""

    def initial(self, params: Params) -> Params:
        """Return the meta-params to begin with: the network's, and what else the method learns."""
        ...

    def initial_state(self, params: Tensor) -> State:
        """Return the outer update's state before the first update of meta-params `[P]`."""
        ...

    def update(self, problem: Problem, params: Tensor, state: State) -> Updated:
        """Return the meta-params `[P]` after one update."""
        ...


class StepLearner(Learner, Protocol):
    """A method that adapts by steps on the params."""

    def inner_step(self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0) -> Params:
        """Return the stacked params `[K, ...]` after one inner step."""
        ...
