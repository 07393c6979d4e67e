"""The inner loop of supervised tasks: labelled examples instead of episodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice, repeat
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core import params as P
from metarl.core.params import Params
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.shots import Examples, Shots, Source
from metarl.methods.adaptation import adapt_once
from metarl.methods.protocols import Method
from metarl.seeding import Split, TaskRngs, sample_split


@dataclass(frozen=True)
class ShotInnerLoop:
    """Draws the examples of supervised tasks and adapts to them, one inner step after another (an `InnerLoop`)."""

    source: Source
    losses: Regression | Classification
    method: Method
    tasks: int
    fresh: bool
    """Whether every inner step sees new examples (Reptile's training) or all steps the same few."""
    device: str = "cpu"
    later_lr: float = 1.0
    """Factor on the inner step size beyond the steps trained with."""

    adapts_by: ClassVar[str] = "gradient steps"

    @property
    def episodes_per_step(self) -> int | None:
        """There are examples instead."""
        return None

    @property
    def measure(self) -> str:
        """What tells how well a task is done: the loss or the accuracy."""
        return self.losses.measure

    @property
    def network(self) -> torch.nn.Module:
        """The network that learns."""
        return self.losses.network

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        """Return n tasks, `[n, d]`, of one of the source's sets if it has such."""
        return sample_split(self.source.sample_tasks, n, rng, split)

    def play(
        self, params: Params, tasks: NDArray[Any], rngs: TaskRngs, stop: bool = True
    ) -> Iterator[tuple[Params, Shots]]:
        """Yield the params and their score on the query examples, then those after one gradient step, and so on.

        A task that diverges has a score that is not finite; nothing stops here.

        Args:
            params: Meta-params, on the CPU.
            tasks: The tasks, `[K, d]`.
            rngs: Random numbers of these tasks.
            stop: As in `PolicyInnerLoop.play`.
        """
        for adapted, shots in self._along(P.stack(params, len(tasks)), self._draw(tasks, rngs)):
            yield adapted, shots.measured(self._score(adapted, shots.query))

    def adapted(self, params: Params, support: Examples, steps: int) -> Iterator[Params]:
        """Yield the params `[K, ...]` after 0, 1, ..., `steps` gradient steps on the same examples."""
        moved = support.to(self.device)
        along = self._along(P.stack(params, len(support)), repeat(Shots(moved, moved)))
        return (adapted for adapted, _ in islice(along, steps + 1))

    def _along(self, adapted: Params, drawn: Iterable[Shots]) -> Iterator[tuple[Params, Shots]]:
        for number, shots in enumerate(drawn):
            yield adapted, shots
            adapted = self.step(adapted, shots.support, number)

    def _draw(self, tasks: NDArray[Any], rngs: TaskRngs) -> Iterator[Shots]:
        yield (shots := self.source.draw(tasks, rngs(0)).to(self.device))
        for phase in count(1):
            yield self.source.draw(tasks, rngs(phase)).to(self.device) if self.fresh else shots.again()

    def _score(self, adapted: Params, query: Examples) -> torch.Tensor:
        with torch.no_grad():
            params = {name: value.to(self.device) for name, value in adapted.items()}
            return self.losses.score(params, query)

    def arrange(self, data: list[Shots], params: Params, rngs: TaskRngs) -> tuple[list[Examples], Examples]:
        """Return the support examples of each inner step and the query examples."""
        return [shots.support for shots in data[: self.method.inner_steps]], data[-1].query

    def step(self, adapted: Params, data: Examples, number: int) -> Params:
        """Return the params after this inner step (0 the first), `[K, ...]` on the CPU."""
        how = {"later_lr": self.later_lr, "device": self.device, "at_once": self.losses.tasks_at_once}
        return adapt_once(self.method, self.losses.loss, adapted, data, number, **how)

    def close(self) -> None:
        """Nothing to close."""
