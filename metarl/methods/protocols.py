"""What a method must have (`Method`), what it is told of the data (`Losses`), and who gets it the data (`InnerLoop`).

What an outer update may ask of the data is `metarl.outer.objective.MetaObjective`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.params import Params
from metarl.errors import UserError
from metarl.outer.objective import MetaObjective, State, Updated
from metarl.seeding import TaskRngs

Data = TypeVar("Data", bound=Sized)
Loss = Callable[[Params, Data], Tensor]
"""From params stacked over tasks `[K, ...]` and data to one loss a task, `[K]`."""

TASKS_OF_ONE_STEP = 20
"""Tasks of a meta-iteration whose outer update is a single step, at least."""
LEAST_WITHOUT_MEMORY = 10
"""At least so many tasks, and episodes of each, where gradient steps take the place of a memory."""

WITHOUT_CONTEXT = {"context": 0, "reward_coef": 0.0}
"""Settings of a network without params among its inputs."""

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

    def value_loss(self, new: Any, data: Any) -> Tensor:
        """Return the squared error of the critic."""
        ...

    def elbo(self, new: Any, data: Any) -> Tensor:
        """Return the evidence lower bound of beliefs about the task."""
        ...

    def entropy(self, new: Any, data: Any) -> Tensor:
        """Return the mean entropy of the action distributions."""
        ...

    def exploration(self, new: Any, support: Any, query: Any, mean: float, std: float) -> Tensor:
        """Return the loss that credits the support data with the normalised return of the query data."""
        ...


class Method(Protocol):
    """A meta-learning method; its settings are the fields of a frozen dataclass.

    A class that inherits from this one gets what has a body below. An object of any other class needs all of it.
    """

    outer: Any
    """How the meta-params move: `TRPO`, `PPO`, `Adam`, ..."""

    plays_query: ClassVar[bool] = True
    """Whether the update needs data played by the adapted policies."""
    remembers: ClassVar[bool] = False
    """Whether a recurrent policy's memory adapts, over the episodes of a lifetime, instead of the params."""

    inner_steps: int
    """Inner steps, each on fresh data."""

    def initial(self, params: Params) -> Params:
        """Return the meta-params to begin with: the network's, and what else the method learns."""
        return params

    def inner_step(
        self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0, *, create_graph: bool = False
    ) -> Params:
        """Return the stacked params `[K, ...]` after one inner step.

        Args:
            loss: Inner losses `[K]` of params stacked over tasks, on data.
            adapted: Params stacked over tasks, `[K, ...]`.
            support: The data of the step.
            scale: Factor on the step size.
            create_graph: Whether the outer update will differentiate the result with respect to `adapted`.
        """
        ...

    def meta_loss(
        self, losses: Losses, new: Outputs, old: Outputs, data: Sequence[Any], numbers: Mapping[str, float]
    ) -> Tensor:
        """Return what the outer update makes smaller, one number a task `[K]`.

        Args:
            losses: Losses of distributions on data.
            new: The distributions on each phase's data of the policies at hand.
            old: Those of the policies that played it, constants.
            data: Support data of each inner step, then the query data.
            numbers: What `MetaObjective.given` was told.
        """
        return losses.surrogate(new(QUERY), old(QUERY), data[QUERY], getattr(self.outer, "clip", None))

    def initial_state(self, params: Tensor) -> State:
        """Return the outer update's state before the first update of meta-params `[P]`."""
        return self.outer.initial_state(params)

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the meta-params `[P]` after one update, the outer update's state, and what happened."""
        return self.outer.update(objective, params, state)

    def check(self, settings: Any) -> None:
        """Refuse a run's settings that contradict the method.

        Raises:
            UserError: If they do.
        """

    def suited(self, settings: Any) -> dict[str, Any]:
        """Return the settings that change where this method takes the place of another one in them.

        Where a meta-iteration had several clipped steps and now has a single one, it gets `TASKS_OF_ONE_STEP` tasks at
        least, in as many environment steps altogether; where it had a memory and now takes gradient steps,
        `LEAST_WITHOUT_MEMORY` tasks and episodes. A context that tells rewards goes where this method does not hear
        them, and so do layers of a network of the other's own.
        """
        before = settings.method
        clipped = [getattr(method.outer, "clip", None) for method in (before, self)]
        forgets = before.remembers and not self.remembers
        deaf = getattr(settings, "reward_coef", 0.0) > 0 and not getattr(self, "hears_rewards", False)
        suited: dict[str, Any] = (WITHOUT_CONTEXT if deaf else {}) | as_deep(self, settings)
        tasks, times = settings.tasks, 1.0
        if clipped[0] is not None and clipped[1] is None:
            tasks = max(tasks, TASKS_OF_ONE_STEP)
        if forgets:
            tasks, episodes = max(tasks, LEAST_WITHOUT_MEMORY), max(settings.episodes, LEAST_WITHOUT_MEMORY)
            suited = suited | {"episodes": episodes}
            phases = [method.inner_steps + method.plays_query for method in (before, self)]
            times = settings.episodes * phases[0] / (episodes * phases[1])
        if tasks == settings.tasks and not forgets:
            return suited
        return suited | {"tasks": tasks} | times_as_many_iterations(settings, times * settings.tasks / tasks)


def as_deep(method: Any, settings: Any) -> dict[str, Any]:
    """Return the widths of a network as deep as that of the method before, but for the layers of their own.

    A method that has some says how many with `own_layers`: of the widths in `hidden`, those at the front.
    """
    more = getattr(method, "own_layers", 0) - getattr(settings.method, "own_layers", 0)
    if not more:
        return {}
    hidden = settings.hidden
    return {"hidden": (hidden[0],) * more + hidden if more > 0 else hidden[-more:] or hidden}


def times_as_many_iterations(settings: Any, factor: float) -> dict[str, int]:
    """Return a run's iterations, and those between evaluations and between checkpoints, times a factor."""
    names = ("iterations", "eval_every", "checkpoint_every")
    return {name: max(1, round(factor * getattr(settings, name))) for name in names}


def needs_episodes(method: Method, settings: Any) -> None:
    """Refuse supervised tasks, whose examples have no returns, for a method that credits actions with them.

    Raises:
        UserError: If a run's settings are of such tasks.
    """
    if not getattr(settings, "plays_episodes", True):
        raise UserError(f"method {type(method).__name__} is for reinforcement learning only: examples have no returns")


class InnerLoop(Protocol):
    """The inner loop: gets the data of tasks and adapts to them."""

    adapts_by: ClassVar[str]
    """What an adaptation curve counts: gradient steps, or episodes seen."""

    @property
    def episodes_per_step(self) -> int | None:
        """Episodes of a task that each of these sees, if there are any."""
        ...

    __dataclass_fields__: ClassVar[dict[str, Any]]
    """It is a frozen dataclass: `dataclasses.replace` gives another one, of another method say."""

    @property
    def method(self) -> Method:
        """The method."""
        ...

    @property
    def losses(self) -> Any:
        """The losses, `Losses`, and what else the workers ask of the kind of data."""
        ...

    @property
    def device(self) -> str:
        """Where the meta-update runs."""
        ...

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        ...

    @property
    def measure(self) -> str:
        """What tells how well a task is done: return, loss or accuracy."""
        ...

    @property
    def network(self) -> Any:
        """The network that learns."""
        ...

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[Any]:
        """Return n tasks, `[n, d]`."""
        ...

    def play(
        self, params: Params, tasks: NDArray[Any], rngs: TaskRngs, stop: bool = True
    ) -> Iterator[tuple[Params, Any]]:
        """Yield the params and their data, then those after one inner step, after two, and so on.

        What is not finite in a task raises `NotFinite`; with `stop` False the data's `faults` tell of it instead.
        """
        ...

    def arrange(self, data: list[Any], params: Params, rngs: TaskRngs) -> tuple[list[Any], Any]:
        """Return the support data of each inner step and the query data, from those of every phase.

        The meta-params tell what a critic that is one of them thinks of the data; the random numbers are those of the
        tasks, whose first phases have been used.
        """
        ...

    def step(self, adapted: Params, data: Any, number: int) -> Params:
        """Return the params after this inner step (0 the first), `[K, ...]` on the CPU."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...
