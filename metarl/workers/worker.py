"""A worker owns a share of the tasks: it collects their data, and answers with sums over its tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from torch import Tensor

from metarl.core import exact
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

    Params travel as flat vectors `[P]`. Gradients and products are exact sums over the worker's tasks (`core.exact`),
    `[3, P]`; losses and divergences come one a task. So nothing that is computed from all workers' answers depends on
    who owns which task.

    Args:
        inner_loop: Plays and adapts.
        like: Params that give names and shapes to flat vectors.
        seed: The run's seed.
        tasks: Number of tasks of all workers.
        share: Indices of this worker's tasks.
    """

    def __init__(self, inner_loop: InnerLoop, like: Params, seed: int, tasks: int, share: Sequence[int]) -> None:
        self.inner_loop, self.like, self.seed, self.tasks, self.share = inner_loop, like, seed, tasks, list(share)
        self.batch: MetaBatch
        self.losses: list[BatchLoss] = []

    def collect(self, params: Tensor, iteration: int) -> dict[str, Any]:
        """Sample this iteration's tasks, play support and query episodes, and keep them.

        Returns:
            `returns`, a list with an array `[tasks, episodes]` for each number of inner steps, `success`
            alike (None where the environment told of none), and `lengths`, `steps`, `unstable`
            simulations, and `faults`, by task, of what was not finite; all other entries leave these tasks
            out. They are to be left out by `drop`.
        """
        loop, method = self.inner_loop, self.inner_loop.method
        tasks = draw_tasks(loop, self.tasks, self.seed, TRAINING, iteration)[self.share]
        rngs = task_rngs(self.seed, TRAINING, iteration, self.share)
        phases = method.inner_steps + method.plays_query
        named = P.unflatten(params, self.like)
        played = loop.play(named, tasks, rngs, stop=False)
        reached, data = zip(*islice(played, phases), strict=True)
        support, query = loop.arrange(list(data), named, rngs)
        adapted = {}
        if support:
            adapted = reached[-1] if method.plays_query else loop.step(reached[-1], support[-1], phases - 1)
        batch = MetaBatch(iteration, tuple(self.share), tuple(support), query, params.clone(), adapted)
        self.hold(batch)
        faults: dict[int, Fault] = {}
        for phase in [*data, *batch.phases]:
            faults = {**phase.faults, **faults}  # the first of a task stands
        if faults:
            data = [phase.select_tasks([k for k in range(len(self.share)) if k not in faults]) for phase in data]
        return {
            "returns": [phase.returns.cpu().numpy() for phase in data],
            "success": [None if (won := getattr(phase, "success", None)) is None else won.numpy() for phase in data],
            "lengths": data[0].lengths.cpu().numpy(),
            "steps": sum(phase.steps for phase in data),
            "unstable": sum(phase.unstable for phase in data),
            "faults": {self.share[k]: fault for k, fault in faults.items()},
        }

    def hold(self, batch: MetaBatch) -> None:
        """Answer questions about this meta-batch from now on."""
        self.batch = batch
        losses = self.inner_loop.losses
        parts = [part for same in batch.by_length() for part in same.in_parts(losses.tasks_at_once(same.query))]
        self.losses = [BatchLoss(self.inner_loop, self.like, self.seed, part) for part in parts]

    def drop(self, tasks: Collection[int]) -> None:
        """Leave tasks out of this meta-iteration, by their indices among those of all workers."""
        rows = [row for row, task in enumerate(self.batch.tasks) if task not in tasks]
        self.hold(self.batch.select_tasks(rows))

    def loss_and_gradient(
        self, params: Tensor, numbers: Mapping[str, float], part: Part | None = None
    ) -> tuple[list[float], Tensor]:
        """Return each task's meta-loss, and the sum of their gradients, `[3, P]`; see `BatchLoss`."""
        found = [loss.loss_and_gradient(params, numbers, part) for loss in self.losses]
        return _numbers([losses for losses, _ in found]), _total([gradients for _, gradients in found], params)

    def loss_and_kl(self, params: Tensor, numbers: Mapping[str, float]) -> tuple[list[float], list[float]]:
        """Return each task's meta-loss, and its KL divergence from the policy that played."""
        found = [loss.loss_and_kl(params, numbers) for loss in self.losses]
        return _numbers([losses for losses, _ in found]), _numbers([kls for _, kls in found])

    def support_kl(self, params: Tensor) -> list[float]:
        """Return each task's KL divergence from the policies that played the support data."""
        return _numbers([loss.support_kl(params) for loss in self.losses])

    def fisher_product(self, at: Tensor, vector: Tensor, stride: int) -> Tensor:
        """Return the sum of the Fisher products of the policies adapted from `at`, `[3, P]`."""
        return _total([loss.fisher_product(at, vector, stride) for loss in self.losses], vector)

    def returns(self) -> list[float]:
        """Return each task's return after adaptation."""
        return _numbers([loss.returns() for loss in self.losses])

    def step_moments(self, field: str) -> tuple[list[float], list[float]]:
        """Return mean and mean square over each task's query steps of what a field of the data holds."""
        found = [loss.step_moments(field) for loss in self.losses]
        return _numbers([mean for mean, _ in found]), _numbers([square for _, square in found])

    def adapted(self) -> Tensor:
        """Return the sum of the adapted params, `[3, P]`."""
        return _total([loss.adapted() for loss in self.losses], self.batch.params)

    def gradient_faults(
        self, params: Tensor, numbers: Mapping[str, float], part: Part | None = None
    ) -> dict[int, Fault]:
        """Return the tasks whose own part of the meta-gradient is not finite."""
        return self._faults("the meta-gradient", lambda loss: loss.loss_and_gradient(params, numbers, part)[1])

    def adapted_faults(self) -> dict[int, Fault]:
        """Return the tasks whose adapted params are not finite."""
        return self._faults("adapted param", lambda loss: loss.adapted())

    def _faults(self, what: str, vectors: Callable[[BatchLoss], Tensor]) -> dict[int, Fault]:
        faults = {}
        for loss in self.losses:
            bad = ~(vectors(loss).abs() <= exact.LARGEST).all(1)
            faults |= {loss.batch.tasks[row]: Fault(what) for row in bad.nonzero().flatten().tolist()}
        return faults


def _numbers(parts: list[Tensor]) -> list[float]:
    return [number for part in parts for number in part.tolist()]


def _total(parts: list[Tensor], like: Tensor) -> Tensor:
    return exact.merged([exact.zeros(like), *(exact.total(part) for part in parts)])
