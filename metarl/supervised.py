"""The player of supervised tasks: labelled examples instead of episodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core import params as P
from metarl.core.params import Params
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.shots import Batch, Lesson, Source
from metarl.learners.learner import StepLearner
from metarl.players import step_scale
from metarl.streams import TaskRngs


@dataclass(frozen=True)
class ShotPlayer:
    """Draws the examples of supervised tasks and adapts to them, one inner step after another."""

    source: Source
    problem: Regression | Classification
    learner: StepLearner
    tasks: int
    fresh: bool
    """Whether every inner step sees new examples (Reptile's training) or all steps the same few."""
    device: str = "cpu"
    later_lr: float = 1.0
    """Factor on the inner step size beyond the steps trained with."""

    adapts_by: ClassVar[str] = "gradient steps"

    @property
    def measures(self) -> str:
        """What tells how well a task is done: the loss or the accuracy."""
        return self.problem.measures

    @property
    def network(self) -> torch.nn.Module:
        """The network that learns."""
        return self.problem.network

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[Any]:
        """Return n tasks, `[n, d]`."""
        return self.source.sample_tasks(n, rng)

    def play(
        self,
        params: Params,
        tasks: NDArray[Any],
        rngs: TaskRngs,
        drop: bool = False,
    ) -> Iterator[tuple[Params, Lesson]]:
        """Yield the params and their score on the query examples, then those after one gradient step, and so on.

        A task that diverges has a score that is not finite; nothing is dropped here.

        Args:
            params: Meta-params, on the CPU.
            tasks: The tasks, `[K, d]`.
            rngs: Random numbers of these tasks.
            drop: As in `Player.play`.
        """
        adapted = P.stack(params, len(tasks))
        lesson = self.source.draw(tasks, rngs(0)).to(self.device)
        for phase in count():
            if phase:
                lesson = self.source.draw(tasks, rngs(phase)).to(self.device) if self.fresh else lesson.again()
            yield adapted, lesson.measured(self._score(adapted, lesson.query))
            adapted = self.step(adapted, lesson.support, phase)

    def _score(self, adapted: Params, query: Batch) -> torch.Tensor:
        with torch.no_grad():
            params = {name: value.to(self.device) for name, value in adapted.items()}
            return self.problem.score(self.problem.outputs(params, query), query)

    def arrange(self, data: list[Lesson]) -> tuple[list[Batch], Batch]:
        """Return the support examples of each inner step and the query examples."""
        return [lesson.support for lesson in data[: self.learner.inner_steps]], data[-1].query

    def step(self, adapted: Params, data: Batch, number: int) -> Params:
        """Return the params after this inner step (0 the first), `[K, ...]` on the CPU."""
        moved = {name: value.to(self.device) for name, value in adapted.items()}
        scale = step_scale(self.learner, number, self.later_lr)
        moved = self.learner.inner_step(self.problem.loss, moved, data, scale)
        return {name: value.cpu() for name, value in moved.items()}

    def close(self) -> None:
        """Nothing to close."""
