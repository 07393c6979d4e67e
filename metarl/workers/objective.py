"""The meta-objective of the tasks of all workers: their answers, added up without rounding.

So the same bits come out however the tasks are shared among the workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from metarl.core import exact
from metarl.outer import Part
from metarl.workers.local import Workers


@dataclass(frozen=True)
class WorkersObjective:
    """A `MetaObjective` on what the workers have collected."""

    workers: Workers
    numbers: dict[str, float] = field(default_factory=dict)
    """What the meta-loss depends on beside the data."""

    def given(self, **numbers: float) -> WorkersObjective:
        """Return the objective whose meta-loss depends on these numbers."""
        return replace(self, numbers=numbers)

    def parts(self, wanted: int) -> int:
        """Return into how many parts each task's query episodes can be cut, where so many are wanted."""
        return min(wanted, self.workers.episodes)

    def loss_and_gradient(self, params: Tensor, part: Part | None = None) -> tuple[float, Tensor]:
        """Return the mean loss over all tasks and its gradient `[P]`, on a part of their query episodes if given.

        Raises:
            NotFinite: If the gradient is not finite and stops the run; names the task.
        """
        losses, gradients = zip(*self.workers.ask("loss_and_gradient", params, self.numbers, part), strict=True)
        gradient = self._mean_vector(gradients, params)
        if torch.isfinite(gradient).all():
            return self._mean(losses), gradient
        found = self.workers.ask("gradient_faults", params, self.numbers, part)
        self.workers.drop_found(found, "the meta-gradient")
        return self.loss_and_gradient(params, part)

    def fisher_product(self, at: Tensor, vector: Tensor, stride: int) -> Tensor:
        """Return the Fisher product of all tasks, `[P]`."""
        return self._mean_vector(self.workers.ask("fisher_product", at, vector, stride), vector)

    def loss_and_kl(self, params: Tensor) -> tuple[float, float]:
        """Return the mean loss and KL divergence over all tasks."""
        losses, kls = zip(*self.workers.ask("loss_and_kl", params, self.numbers), strict=True)
        return self._mean(losses), self._mean(kls)

    def support_kl(self, params: Tensor) -> float:
        """Return the mean KL divergence on the support data over all tasks."""
        return self._mean(self.workers.ask("support_kl", params))

    def adapted(self) -> Tensor:
        """Return the mean of all tasks' adapted params, `[P]` in float64.

        Raises:
            NotFinite: If some are not finite and stop the run; names the task.
        """
        parts = self.workers.ask("adapted")
        mean = exact.value(exact.merged(parts)) / self.workers.remaining
        if torch.isfinite(mean).all():
            return mean
        self.workers.drop_found(self.workers.ask("adapted_faults"), "adapted param")
        return self.adapted()

    def return_moments(self) -> tuple[float, float]:
        """Return mean and mean square over all tasks of the return after adaptation."""
        returns = self.workers.ask("returns")
        return self._mean(returns), self._mean([[value**2 for value in part] for part in returns])

    def step_moments(self, field: str) -> tuple[float, float]:
        """Return mean and mean square over the query steps of all tasks of what a field of the data holds."""
        means, squares = zip(*self.workers.ask("step_moments", field), strict=True)
        return self._mean(means), self._mean(squares)

    def _mean(self, parts: Iterable[Sequence[float]]) -> float:
        """Return the mean of one number a task."""
        numbers = [number for part in parts for number in part]
        if not all(map(math.isfinite, numbers)):
            return math.nan
        return math.fsum(numbers) / self.workers.remaining

    def _mean_vector(self, sums: Iterable[Tensor], like: Tensor) -> Tensor:
        """Return the mean of the tasks' vectors `[P]`, in the precision of another one."""
        return (exact.value(exact.merged(sums)) / self.workers.remaining).to(like.dtype)
