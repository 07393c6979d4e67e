"""What plays tasks and adapts to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from metarl.core import params as P
from metarl.core.params import Params
from metarl.errors import stop_at
from metarl.learners.learner import Learner, StepLearner
from metarl.rl.advantages import Baseline, with_advantages
from metarl.rl.episodes import Episodes
from metarl.rl.losses import PolicyGradient
from metarl.rl.recurrent import Memory
from metarl.rl.sampler import Sampler
from metarl.streams import TaskRngs


class AnyPlayer(Protocol):
    """What training and evaluation ask of what gets the data of tasks and adapts to them."""

    adapts_by: ClassVar[str]

    @property
    def learner(self) -> Learner:
        """The method."""
        ...

    @property
    def problem(self) -> Any:
        """The losses, `metarl.learners.learner.Losses`, and the network's own params."""
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
    def measures(self) -> str:
        """What tells how well a task is done."""
        ...

    @property
    def network(self) -> Any:
        """The network that learns."""
        ...

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[Any]:
        """Return n tasks, `[n, d]`."""
        ...

    def play(
        self,
        params: Params,
        tasks: NDArray[Any],
        rngs: TaskRngs,
        drop: bool = False,
    ) -> Iterator[tuple[Params, Any]]:
        """Yield the params and their data, then those after one inner step, after two, and so on.

        With `drop`, what is not finite in a task is told in the data's `faults` instead of raising `NotFinite`.
        """
        ...

    def arrange(self, data: list[Any]) -> tuple[list[Any], Any]:
        """Return the support data of each inner step and the query data, from those of every phase."""
        ...

    def step(self, adapted: Params, data: Any, number: int) -> Params:
        """Return the params after this inner step (0 the first), `[K, ...]` on the CPU."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


@dataclass(frozen=True)
class Player:
    """Plays tasks and adapts to them, one inner step after another."""

    sampler: Sampler
    problem: PolicyGradient
    learner: Learner
    discount: float
    gae_lambda: float
    device: str = "cpu"
    baseline: Baseline = "linear"
    later_lr: float = 1.0
    """Factor on the inner step size beyond the steps trained with."""

    adapts_by: ClassVar[str] = "gradient steps"

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return self.sampler.tasks

    @property
    def measures(self) -> str:
        """What tells how well a task is done: the return."""
        return "return"

    @property
    def network(self) -> Any:
        """The policy."""
        return self.sampler.policy

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return n tasks, `[n, d]`."""
        return self.sampler.env.sample_tasks(n, rng)

    def close(self) -> None:
        """Close the environments."""
        self.sampler.env.close()

    def play(
        self,
        params: Params,
        tasks: NDArray[np.float64],
        rngs: TaskRngs,
        drop: bool = False,
    ) -> Iterator[tuple[Params, Episodes]]:
        """Yield the params and their episodes, then those after one gradient step, after two, and so on.

        Args:
            params: Meta-params, on the CPU.
            tasks: The tasks, `[K, d]`.
            rngs: Random numbers of these tasks.
            drop: Whether the caller leaves out the tasks in the episodes' `faults`.

        Raises:
            NotFinite: If something is not finite and the caller does not; names task and step.
        """
        adapted = P.stack(params, len(tasks))
        for phase in count():
            episodes = self._episodes(adapted, tasks, rngs(phase))
            if not drop:
                stop_at(episodes.faults)
            yield adapted, episodes
            adapted = self.step(adapted, episodes, phase)

    def adapted(
        self,
        params: Params,
        tasks: NDArray[np.float64],
        rngs: TaskRngs,
        steps: int,
    ) -> Params | Memory:
        """Return the policy's params after this many inner steps, `[K, ...]` on the CPU."""
        adapted = P.stack(params, len(tasks))
        for phase in range(steps):
            episodes = self._episodes(adapted, tasks, rngs(phase))
            stop_at(episodes.faults)
            adapted = self.step(adapted, episodes, phase)
        return self.problem.own(adapted)

    def _episodes(self, adapted: Params, tasks: NDArray[np.float64], rngs: Iterator[np.random.Generator]) -> Episodes:
        episodes = self.sampler.sample(self.problem.own(adapted), tasks, rngs)
        return with_advantages(episodes, self.discount, self.gae_lambda, self.baseline).to(self.device)

    def start(self, params: Params) -> Params | Memory:
        """Return what acts in one task before anything has been played: the policy's own params, `[1, ...]`."""
        return P.stack(self.problem.own(params), 1)

    def arrange(self, data: list[Episodes]) -> tuple[list[Episodes], Episodes]:
        """Return the support data of each inner step and the query data, from those of every phase."""
        return data[: self.learner.inner_steps], data[-1]

    def step(self, adapted: Params, data: Episodes, number: int) -> Params:
        """Return the params after this inner step (0 the first), `[K, ...]` on the CPU."""
        moved = {name: value.to(self.device) for name, value in adapted.items()}
        scale = step_scale(self.learner, number, self.later_lr)
        moved = cast(StepLearner, self.learner).inner_step(self.problem.loss, moved, data, scale)
        return {name: value.cpu() for name, value in moved.items()}


def step_scale(learner: Learner, number: int, later_lr: float) -> float:
    """Return the factor on the size of an inner step (0 the first): 1 for those that the method trains with."""
    return 1.0 if number < learner.inner_steps else later_lr
