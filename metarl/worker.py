"""A worker owns a share of the tasks and their data, and answers with sums over its tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor

from metarl import minibatches
from metarl.core import params as P
from metarl.core.adam import Part
from metarl.core.params import Params
from metarl.errors import Fault
from metarl.learners import MAML
from metarl.learners.learner import QUERY
from metarl.players import AnyPlayer
from metarl.streams import TRAINING, draw_tasks, task_rngs


class Worker:
    """Collects the data of its share of the tasks and differentiates the learner's objective on them.

    Params and gradients travel as flat vectors `[P]`; losses, gradients and products are sums over
    the worker's tasks divided by the number of tasks of all workers, less those left out.

    Args:
        player: Plays and adapts.
        like: Params that give names and shapes to flat vectors.
        seed: The run's seed.
        tasks: Number of tasks of all workers.
        share: Indices of this worker's tasks.
    """

    def __init__(self, player: AnyPlayer, like: Params, seed: int, tasks: int, share: Sequence[int]) -> None:
        self.player, self.like, self.seed, self.tasks, self.share = player, like, seed, tasks, list(share)
        self.kept, self.left = list(share), tasks
        self.learner, self.problem = cast(MAML, player.learner), player.problem
        self.support: list[Any] = []
        self.query: Any
        self._reached: Params = {}
        self.numbers: dict[str, float] = {}
        self._iteration = 0
        self._old: dict[int, Any] = {}
        self._curvature: Callable[[Tensor], Tensor] | None = None
        self._stride = 1

    def collect(self, params: Tensor, iteration: int) -> dict[str, Any]:
        """Sample this iteration's tasks, play support and query episodes, and keep them.

        Returns:
            `returns`, a list with an array `[tasks, episodes]` for each number of inner steps, and
            `lengths`, `steps`, `unstable` simulations, and the `faults` of tasks in which something was not
            finite; the others are of the rest. Those tasks are to be left out by `drop`.
        """
        tasks = draw_tasks(self.player, self.tasks, self.seed, TRAINING, iteration)[self.share]
        rngs = task_rngs(self.seed, TRAINING, iteration, self.share)
        played = self.player.play(P.unflatten(params, self.like), tasks, rngs, drop=True)
        phases = self.learner.inner_steps + self.learner.plays_query
        reached, data = zip(*islice(played, phases), strict=True)
        self.support, self.query = self.player.arrange(list(data))
        self._iteration = iteration
        last = reached[-1]
        self._reached = last if self.learner.plays_query else self.player.step(last, self.support[-1], phases - 1)
        self._old, self._curvature, self.kept, self.left = {}, None, self.share, self.tasks
        faults: dict[int, Fault] = {}
        for phase in [*data, *self.support, self.query]:
            faults = {**phase.faults, **faults}  # the first of a task stands
        if faults:
            data = [phase.of([k for k in range(len(self.share)) if k not in faults]) for phase in data]
        return {
            "returns": [phase.returns.cpu().numpy() for phase in data],
            "lengths": data[0].lengths.cpu().numpy(),
            "steps": sum(phase.steps for phase in data),
            "unstable": sum(phase.unstable for phase in data),
            "faults": {self.share[k]: fault for k, fault in faults.items()},
        }

    def drop(self, tasks: Collection[int], left: int) -> None:
        """Leave tasks out of this meta-iteration, and divide by the number of tasks that all workers have left.

        A worker without any left answers with zeros.

        Args:
            tasks: Indices of tasks of all workers.
            left: Number of tasks of all workers that remain.
        """
        rows = [row for row, task in enumerate(self.kept) if task not in tasks]
        if len(rows) < len(self.kept):
            self.support, self.query = [data.of(rows) for data in self.support], self.query.of(rows)
            if self.support:  # a policy that adapts by its memory has no params for each task
                self._reached = {name: value[rows] for name, value in self._reached.items() if name in self.like}
            self._old = {phase: _rows(old, rows) for phase, old in self._old.items()}
            self.kept, self._curvature = [self.kept[row] for row in rows], None
        self.left = left

    def prepare(self, numbers: Mapping[str, float]) -> None:
        """Keep the numbers that this iteration's objective depends on."""
        self.numbers = dict(numbers)

    def return_moments(self) -> tuple[float, float]:
        """Return the sums over its tasks of the return after adaptation and of its square, over all tasks' number."""
        if not self.kept:
            return 0.0, 0.0
        returns = self.query.returns.double().mean(1)
        return float(returns.sum() / self.left), float(returns.square().sum() / self.left)

    def adapted(self) -> Tensor:
        """Return the sum of the adapted params of its tasks over the number of all tasks, `[P]`."""
        return P.flatten([self._reached[name].sum(0) / self.left for name in self.like])

    def _leaf(self, params: Tensor) -> Tensor:
        """Return a copy on the device to differentiate with respect to."""
        return params.detach().to(self.player.device, copy=True).requires_grad_()

    def _adapted(self, params: Params, support: list[Any]) -> Params:
        return self.learner.adapt(self.problem.loss, params, support)

    def _stacked(self, params: Tensor) -> Params:
        """Return a vector of meta-params on the device, the same for each task, `[K, ...]`."""
        return P.stack(P.unflatten(params.to(self.player.device), self.like), len(self.query))

    def _outputs(self, stacked: Params, create_graph: bool, chosen: Tensor | None = None) -> Callable[[int], Any]:
        """Return, from the phase, the distributions on its data of the policy that these meta-params lead to.

        Of the query data only some episodes of each task count, if they are chosen.
        """
        path = [stacked]
        for support in self.support:
            path.append(self.learner.inner_step(self.problem.loss, path[-1], support, create_graph=create_graph))
        data = [*self.support, self.query if chosen is None else self.query.some(chosen)]
        return cache(lambda phase: self.problem.outputs(path[phase], data[phase]))

    def _objective(self, new: Callable[[int], Any]) -> Tensor:
        return self._losses(new).sum() / self.left

    def _losses(self, new: Callable[[int], Any], chosen: Tensor | None = None) -> Tensor:
        """Return the objective of each of its tasks, `[K]`, or that of some of their query episodes."""

        def old(phase: int) -> Any:
            if phase not in self._old:  # asked for first at the params that played
                self._old[phase] = _detached(new(phase))
            if chosen is None or phase != QUERY:
                return self._old[phase]
            return minibatches.cut(self._old[phase], chosen, self.query.mask.shape[1])

        data = [*self.support, self.query if chosen is None else self.query.some(chosen)]
        return self.learner.objective(self.problem, new, old, data, self.numbers)

    def loss_and_gradient(self, params: Tensor, part: Part | None = None) -> tuple[float, Tensor]:
        """Return the meta-objective and its gradient `[P]`; after `collect` first at the params that played.

        Args:
            params: Meta-params, `[P]`.
            part: Which query episodes count; the mean over an epoch's parts is the meta-objective.
        """
        if not self.kept:
            return 0.0, torch.zeros_like(params)
        if part is not None and QUERY not in self._old:
            self.loss_and_kl(params)
        vector = self._leaf(params)
        with self.problem.threads():
            if part is None:
                loss = self._objective(self._outputs(self._stacked(vector), create_graph=True))
            else:
                loss = self._part_of_objective(vector, part)
            (gradient,) = P.grad(loss, [vector])
        self._at, self._curvature = params, None
        return float(loss.detach()), gradient.cpu()

    def _part_of_objective(self, vector: Tensor, part: Part) -> Tensor:
        chosen = minibatches.choose(part, self.seed, self._iteration, self.kept, self.query.mask.shape[1])
        losses = self._losses(self._outputs(self._stacked(vector), create_graph=True, chosen=chosen), chosen)
        # a task's loss is a mean over its steps, and its episodes differ in length
        share = self.query.some(chosen).mask.sum((1, 2)) / self.query.mask.sum((1, 2))
        return part[2] * (share * losses).sum() / self.left

    def gradient_faults(self, params: Tensor, part: Part | None = None) -> dict[int, Fault]:
        """Return the tasks whose own part of the meta-gradient is not finite."""
        faults = {}
        for task in self.kept:
            alone = copy(self)
            alone.drop({*self.kept} - {task}, self.left)
            if not torch.isfinite(alone.loss_and_gradient(params, part)[1]).all():
                faults[task] = Fault("the meta-gradient")
        return faults

    def adapted_faults(self) -> dict[int, Fault]:
        """Return the tasks whose adapted params are not finite."""
        parts = [self._reached[name].flatten(1) for name in self.like]
        bad = ~torch.isfinite(torch.cat(parts, dim=1)).all(1)
        return {self.kept[row]: Fault("adapted param") for row in bad.nonzero().flatten().tolist()}

    def loss_and_kl(self, params: Tensor) -> tuple[float, float]:
        """Return the meta-objective and the KL divergence from the policies that played, at other params."""
        if not self.kept:
            return 0.0, 0.0
        # the inner step needs gradients, the outcome does not
        new = self._outputs(self._stacked(params), create_graph=False)
        with torch.no_grad(), self.problem.threads():
            loss = self._objective(new)
            kl = self.problem.kl(self._old[QUERY], new(QUERY), self.query).sum() / self.left
        return float(loss), float(kl)

    def support_kl(self, params: Tensor) -> float:
        """Return the KL divergence from the policies that played the support data, mean over the inner steps."""
        if not self.kept:
            return 0.0
        new = self._outputs(self._stacked(params), create_graph=False)
        with torch.no_grad():
            kls = [self.problem.kl(self._old[i], new(i), support) for i, support in enumerate(self.support)]
        return float(torch.stack(kls).mean(0).sum() / self.left)

    def fisher_product(self, vector: Tensor, stride: int) -> Tensor:
        """Return J'FJ times a vector `[P]`: F the Fisher matrices on the query states, J through adaptation.

        At the params of the last `loss_and_gradient` the adapted policies are those that played, so
        the KL's gradient with respect to their outputs is zero and this is its exact Hessian (with
        stride 1; else that of every stride-th sample).
        """
        if not self.kept:
            return torch.zeros_like(vector)
        if self._curvature is None or self._stride != stride:
            self._curvature, self._stride = self._build_curvature(stride), stride
        return self._curvature(vector.to(self.player.device)).cpu()

    def _build_curvature(self, stride: int) -> Callable[[Tensor], Tensor]:
        point = self._leaf(self._at)
        support = [self.problem.thin(episodes, stride) for episodes in self.support]
        query = self.query.every(stride)
        adapted = self._adapted(P.unflatten(point, self.like), support)
        if stride > 1:  # linearise at the policies that played, not at those of the thinner support
            exact = self._played()
            adapted = {name: value + (exact[name] - value).detach() for name, value in adapted.items()}
        at = self.problem.outputs(adapted, query)
        outputs = at.parameters
        jacobian = P.forward_derivative(outputs, [point])
        fixed = _detached(at)

        def product(vector: Tensor) -> Tensor:
            pushed = self.problem.fisher(fixed, jacobian([vector]), query)
            (pulled,) = torch.autograd.grad(outputs, [point], pushed, retain_graph=True)
            return pulled / self.left

        return product

    def _played(self) -> Params:
        """Return the adapted params that played the query episodes."""
        adapted = self._stacked(self._at)
        for support in self.support:
            adapted = self.learner.inner_step(self.problem.loss, adapted, support)
        return adapted


def _detached(distribution: Any) -> Any:
    return replace(distribution, **{name: value.detach() for name, value in vars(distribution).items()})


def _rows(distribution: Any, rows: list[int]) -> Any:
    """Return the distributions `[K, N]` of some tasks; what all tasks share, `[1, a]`, stays."""
    values = {name: value[rows] if value.dim() == 3 else value for name, value in vars(distribution).items()}
    return replace(distribution, **values)
