"""The inner loop of policies: play episodes, take a gradient step, play again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metarl.core import params as P
from metarl.core.params import Params
from metarl.errors import UserError, stop_at
from metarl.methods.adaptation import adapt_once
from metarl.methods.protocols import Method
from metarl.rl.advantages import Baseline, with_advantages
from metarl.rl.episodes import Episodes
from metarl.rl.losses import PolicyGradient
from metarl.rl.recurrent import Memory
from metarl.rl.sampler import Sampler
from metarl.seeding import Split, TaskRngs, sample_split


@dataclass(frozen=True)
class PolicyInnerLoop:
    """Plays tasks and adapts to them, one inner step after another (an `InnerLoop`)."""

    sampler: Sampler
    losses: PolicyGradient
    method: Method
    discount: float
    gae_lambda: float
    device: str = "cpu"
    baseline: Baseline | None = None
    """What returns are fitted by; by default linear in features of state and time."""
    later_lr: float = 1.0
    """Factor on the inner step size beyond the steps trained with."""

    adapts_by: ClassVar[str] = "gradient steps"

    @property
    def episodes_per_step(self) -> int | None:
        """Episodes of a gradient step."""
        return self.sampler.episodes

    @property
    def measure(self) -> str:
        """What tells how well a task is done: the return."""
        return "return"

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return self.sampler.tasks

    @property
    def network(self) -> Any:
        """The policy."""
        return self.sampler.policy

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[np.float64]:
        """Return n tasks, `[n, d]`, of one of the environment's sets if it has such."""
        return sample_split(self.sampler.env.sample_tasks, n, rng, split)

    def check_tasks(self, tasks: NDArray[np.float64]) -> None:
        """Refuse what is no task of the environment, of `[K, d]`.

        Raises:
            UserError: If one is not.
        """
        space: Any = getattr(self.sampler.env, "task_space", None)
        if len(getattr(space, "shape", None) or ()) == 1 and tasks.shape[1:] != space.shape:
            raise UserError(f"a task is numbers of shape {space.shape}, got {tasks[0].tolist()}")
        try:
            self.sampler.env.set_tasks(np.repeat(tasks, self.sampler.episodes, axis=0))
        except ValueError as error:
            raise UserError(str(error)) from error

    def close(self) -> None:
        """Close the environments."""
        self.sampler.env.close()

    def play(
        self, params: Params, tasks: NDArray[np.float64], rngs: TaskRngs, stop: bool = True
    ) -> Iterator[tuple[Params, Episodes]]:
        """Yield the params and their episodes, then those after one gradient step, after two, and so on.

        Args:
            params: Meta-params, on the CPU.
            tasks: The tasks, `[K, d]`.
            rngs: Random numbers of these tasks.
            stop: Whether to raise where something is not finite; else the caller sees to the episodes' `faults`.

        Raises:
            NotFinite: If something is not finite; names task and step.
        """
        adapted = P.stack(params, len(tasks))
        for phase in count():
            episodes = self._episodes(adapted, tasks, rngs(phase))
            if stop:
                stop_at(episodes.faults)
            yield adapted, episodes
            adapted = self.step(adapted, episodes, phase)

    def adapted(self, params: Params, tasks: NDArray[np.float64], rngs: TaskRngs, steps: int) -> Params | Memory:
        """Return the policy's params after this many inner steps, `[K, ...]` on the CPU."""
        if not steps:
            return self.losses.own(P.stack(params, len(tasks)))
        before, episodes = next(islice(self.play(params, tasks, rngs), steps - 1, None))
        return self.losses.own(self.step(before, episodes, steps - 1))

    def _episodes(self, adapted: Params, tasks: NDArray[np.float64], rngs: Iterator[np.random.Generator]) -> Episodes:
        episodes = self.sampler.sample(self.losses.own(adapted), tasks, rngs)
        return with_advantages(episodes, self.discount, self.gae_lambda, self.baseline).to(self.device)

    def start(self, params: Params) -> Params | Memory:
        """Return what acts in one task before anything has been played: the policy's own params, `[1, ...]`."""
        return P.stack(self.losses.own(params), 1)

    def arrange(self, data: list[Episodes], params: Params, rngs: TaskRngs) -> tuple[list[Episodes], Episodes]:
        """Return the support data of each inner step and the query data, from those of every phase."""
        return data[: self.method.inner_steps], data[-1]

    def step(self, adapted: Params, data: Episodes, number: int) -> Params:
        """Return the params after this inner step (0 the first), `[K, ...]` on the CPU.

        Beyond the steps trained with there is no `reward_coef`: what rewards mean there has not been learned.
        """
        losses = self.losses if number < self.method.inner_steps else replace(self.losses, reward_coef=0.0)
        return adapt_once(
            self.method, losses.loss, adapted, data, number, self.later_lr, self.device, losses.tasks_at_once
        )
