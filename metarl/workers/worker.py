"""A worker owns a share of the tasks: it collects their data, and answers with sums over its tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from metarl.core import params as P
from metarl.core.params import Params
from metarl.errors import Fault
from metarl.methods.protocols import InnerLoop
from metarl.outer import Part
from metarl.seeding import TRAINING, draw_tasks, task_rngs
from metarl.workers.batch_loss import BatchLoss
from metarl.workers.meta_batch import MetaBatch


class Worker:
    """Collects the meta-batch of its share of the tasks and answers questions about it.

    Params and gradients travel as flat vectors `[P]`; losses, gradients and products are sums over the worker's tasks
    divided by the number of tasks of all workers, less those left out. A worker without any task left answers zeros.

    Args:
        inner_loop: Plays and adapts.
        like: Params that give names and shapes to flat vectors.
        seed: The run's seed.
        tasks: Number of tasks of all workers.
        share: Indices of this worker's tasks.
    """

    def __init__(self, inner_loop: InnerLoop, like: Params, seed: int, tasks: int, share: Sequence[int]) -> None:
        self.inner_loop, self.like, self.seed, self.tasks, self.share = inner_loop, like, seed, tasks, list(share)
        self.loss: BatchLoss

    def collect(self, params: Tensor, iteration: int) -> dict[str, Any]:
        """Sample this iteration's tasks, play support and query episodes, and keep them.

        Returns:
            `returns`, a list with an array `[tasks, episodes]` for each number of inner steps, and
            `lengths`, `steps`, `unstable` simulations, and the `faults` of tasks in which something was not
            finite; the others are of the rest. Those tasks are to be left out by `drop`.
        """
        loop, method = self.inner_loop, self.inner_loop.method
        tasks = draw_tasks(loop, self.tasks, self.seed, TRAINING, iteration)[self.share]
        rngs = task_rngs(self.seed, TRAINING, iteration, self.share)
        phases = method.inner_steps + method.plays_query
        played = loop.play(P.unflatten(params, self.like), tasks, rngs, drop=True)
        reached, data = zip(*islice(played, phases), strict=True)
        support, query = loop.arrange(list(data))
        adapted = {}
        if support:
            adapted = reached[-1] if method.plays_query else loop.step(reached[-1], support[-1], phases - 1)
        batch = MetaBatch(iteration, tuple(self.share), tuple(support), query, params.clone(), adapted)
        self.hold(batch, self.tasks)
        faults: dict[int, Fault] = {}
        for phase in [*data, *batch.phases]:
            faults = {**phase.faults, **faults}  # the first of a task stands
        if faults:
            data = [phase.select_tasks([k for k in range(len(self.share)) if k not in faults]) for phase in data]
        return {
            "returns": [phase.returns.cpu().numpy() for phase in data],
            "lengths": data[0].lengths.cpu().numpy(),
            "steps": sum(phase.steps for phase in data),
            "unstable": sum(phase.unstable for phase in data),
            "faults": {self.share[k]: fault for k, fault in faults.items()},
        }

    def hold(self, batch: MetaBatch, tasks: int) -> None:
        """Answer questions about this meta-batch from now on, dividing by the number of tasks of all workers."""
        self.loss = BatchLoss(self.inner_loop, self.like, self.seed, batch, tasks)

    def drop(self, tasks: Collection[int], remaining: int) -> None:
        """Leave tasks out of this meta-iteration.

        Args:
            tasks: Indices of tasks of all workers.
            remaining: Number of tasks of all workers that remain.
        """
        batch = self.loss.batch
        self.hold(batch.select_tasks([row for row, task in enumerate(batch.tasks) if task not in tasks]), remaining)

    def loss_and_gradient(
        self, params: Tensor, numbers: Mapping[str, float], part: Part | None = None
    ) -> tuple[float, Tensor]:
        """Return the sums of the meta-loss and its gradient `[P]`; see `BatchLoss`."""
        empty = 0.0, torch.zeros_like(params)
        return self.loss.loss_and_gradient(params, numbers, part) if self.loss.batch else empty

    def loss_and_kl(self, params: Tensor, numbers: Mapping[str, float]) -> tuple[float, float]:
        """Return the sums of the meta-loss and of the KL divergence from the policies that played."""
        return self.loss.loss_and_kl(params, numbers) if self.loss.batch else (0.0, 0.0)

    def support_kl(self, params: Tensor) -> float:
        """Return the sum of the KL divergences from the policies that played the support data."""
        return self.loss.support_kl(params) if self.loss.batch else 0.0

    def fisher_product(self, at: Tensor, vector: Tensor, stride: int) -> Tensor:
        """Return the sum of the Fisher products of the policies adapted from `at`, `[P]`."""
        return self.loss.fisher_product(at, vector, stride) if self.loss.batch else torch.zeros_like(vector)

    def return_moments(self) -> tuple[float, float]:
        """Return the sums of the return after adaptation and of its square."""
        return self.loss.return_moments() if self.loss.batch else (0.0, 0.0)

    def adapted(self) -> Tensor:
        """Return the sum of the adapted params, `[P]`."""
        return self.loss.adapted()

    def gradient_faults(
        self, params: Tensor, numbers: Mapping[str, float], part: Part | None = None
    ) -> dict[int, Fault]:
        """Return the tasks whose own part of the meta-gradient is not finite."""
        return self.loss.gradient_faults(params, numbers, part)

    def adapted_faults(self) -> dict[int, Fault]:
        """Return the tasks whose adapted params are not finite."""
        return self.loss.adapted_faults()
