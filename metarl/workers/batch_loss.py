"""The meta-loss of one meta-batch: its value, gradient, divergences and curvature as functions of the meta-params."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from metarl.core import params as P
from metarl.core.params import Params
from metarl.methods.adaptation import adaptation_path
from metarl.methods.maml import MAML
from metarl.methods.protocols import QUERY, InnerLoop, Outputs
from metarl.outer import Part
from metarl.threads import one_thread
from metarl.workers import minibatches
from metarl.workers.meta_batch import MetaBatch


class BatchLoss:
    """Losses, gradients and products of each task of a meta-batch, whose data have one length.

    A task's numbers are the same to the last bit whichever tasks are in the meta-batch with it: networks run as batches
    of products, one a task, and nothing is summed over tasks here.

    An answer depends on the arguments alone. What is remembered between calls (the policies that played, the graph of
    the curvature) only saves the work of computing it again.

    Args:
        inner_loop: Knows the method, the losses and the device.
        like: Params that give names and shapes to flat vectors.
        seed: The run's seed, by which minibatches are chosen.
        batch: The data of K tasks.
    """

    def __init__(self, inner_loop: InnerLoop, like: Params, seed: int, batch: MetaBatch) -> None:
        self.method, self.losses, self.device = inner_loop.method, inner_loop.losses, inner_loop.device
        self.like, self.seed, self.batch = like, seed, batch
        self._old: dict[int, Any] = {}
        self._curvature: tuple[Tensor, int, Callable[[Tensor], Tensor]] | None = None

    def loss_and_gradient(
        self, params: Tensor, numbers: Mapping[str, float], part: Part | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the meta-loss `[K]` and its gradient `[K, P]`.

        Args:
            params: Meta-params, `[P]`.
            numbers: What the meta-loss depends on beside the data.
            part: Which query episodes count; the mean over an epoch's parts is the meta-loss.
        """
        leaves = self._leaves(params)
        with self._threads():
            if part is None:
                losses = self._task_losses(params, self._outputs(leaves, True), numbers)
            else:
                losses = self._part_of_losses(params, leaves, numbers, part)
            gradients = P.grad(losses.sum(), list(leaves.values()))
        return losses.detach(), P.flatten_stacked(gradients)

    def loss_and_kl(self, params: Tensor, numbers: Mapping[str, float]) -> tuple[Tensor, Tensor]:
        """Return the meta-loss, and the KL divergence of the adapted policies from those that played, `[K]` each."""
        with self._threads():
            # the inner step needs gradients, the outcome does not
            new = self._outputs(self._stacked(params), create_graph=False)
            with torch.no_grad():
                losses = self._task_losses(params, new, numbers)
                return losses, self.losses.kl(self._played(QUERY), new(QUERY), self.batch.query)

    def support_kl(self, params: Tensor) -> Tensor:
        """Return the KL divergence from the policies that played the support data, mean over the inner steps, `[K]`."""
        with self._threads():
            new, support = self._outputs(self._stacked(params), create_graph=False), self.batch.support
            with torch.no_grad():
                kls = [self.losses.kl(self._played(i), new(i), data) for i, data in enumerate(support)]
                return torch.stack(kls).mean(0)

    def fisher_product(self, at: Tensor, vector: Tensor, stride: int) -> Tensor:
        """Return J'FJ times a vector, `[K, P]`: F the Fisher matrix on the query states, J through adaptation.

        At the params that played the data the KL's gradient with respect to the adapted policies' outputs is zero, so
        this is the KL's exact Hessian with stride 1, but for first-order methods, whose J lacks second derivatives too.
        A greater stride takes every stride-th sample of the support and query data, which approximates it.
        """
        with self._threads():
            if self._curvature is None or self._curvature[1] != stride or not torch.equal(self._curvature[0], at):
                self._curvature = at, stride, self._build_curvature(at, stride)
            return self._curvature[2](vector)

    def returns(self) -> Tensor:
        """Return the tasks' return after adaptation, `[K]`."""
        return self.batch.query.returns.double().mean(1)

    def step_moments(self, field: str) -> tuple[Tensor, Tensor]:
        """Return mean and mean square over each task's query steps of what a field of the data holds, `[K]`."""
        values, weight = getattr(self.batch.query, field).flatten(1).double(), self.batch.query.weight
        return (values * weight).sum(-1), (values.square() * weight).sum(-1)

    def adapted(self) -> Tensor:
        """Return the tasks' adapted params, `[K, P]`."""
        return P.flatten_stacked(self.batch.adapted[name] for name in self.like)

    def _threads(self) -> AbstractContextManager[None]:
        return one_thread() if len(self.batch) == 1 else self.losses.threads()

    def _leaves(self, params: Tensor) -> Params:
        """Return each task's own params to differentiate with respect to, `[K, ...]`."""
        return {name: value.detach().requires_grad_() for name, value in self._stacked(params).items()}

    def _stacked(self, params: Tensor) -> Params:
        """Return a vector of meta-params on the device, the same for each task, `[K, ...]`."""
        return P.stack(P.unflatten(params.to(self.device), self.like), len(self.batch))

    def _outputs(self, stacked: Params, create_graph: bool, chosen: Tensor | None = None) -> Outputs:
        """Return, from the phase, the distributions on its data of the policy that these meta-params lead to.

        Of the query data only some episodes of each task count, if they are chosen. What an inner step computes of the
        policy on its data is not computed again where it is MAML's: another step may have looked at the loss without a
        graph, or used the graph up, as a first-order step does.
        """
        seen: list[tuple[Params, Any, Any]] = []
        method: Any = self.method
        keeps = create_graph and type(method).inner_step is MAML.inner_step and not method.first_order

        def loss(params: Params, data: Any) -> Tensor:
            outputs = self.losses.outputs(params, data)
            if keeps:
                seen.append((params, data, outputs))
            return self.losses.loss(params, data, outputs)

        path = adaptation_path(self.method, loss, stacked, self.batch.support, create_graph=create_graph)
        data = self._data(chosen)

        def outputs(phase: int) -> Any:
            known = [out for params, of, out in seen if params is path[phase] and of is data[phase]]
            return known[0] if known else self.losses.outputs(path[phase], data[phase])

        return cache(outputs)

    def _data(self, chosen: Tensor | None) -> list[Any]:
        query = self.batch.query if chosen is None else self.batch.query.select_episodes(chosen)
        return [*self.batch.support, query]

    def _played(self, phase: int) -> Any:
        """Return the distributions of the policies that played a phase, which follow from the batch's params."""
        if phase not in self._old:
            with torch.enable_grad():  # the inner step needs gradients, wherever this is asked
                played = self._outputs(self._stacked(self.batch.params), create_graph=False)
            with torch.no_grad():
                self._old[phase] = played(phase)
        return self._old[phase]

    def _task_losses(
        self, params: Tensor, new: Outputs, numbers: Mapping[str, float], chosen: Tensor | None = None
    ) -> Tensor:
        """Return the meta-loss of each task, `[K]`, or that of some of its query episodes."""
        played_by_these = torch.equal(params, self.batch.params)

        def old(phase: int) -> Any:
            if chosen is not None and phase == QUERY:
                return minibatches.cut(self._played(phase), chosen, self.batch.query.mask.shape[1])
            if played_by_these and phase not in self._old:  # these are the policies: no need to compute them twice
                self._old[phase] = P.each_tensor(Tensor.detach, new(phase))
            return self._played(phase)

        return self.method.meta_loss(self.losses, new, old, self._data(chosen), numbers)

    def _part_of_losses(self, params: Tensor, leaves: Params, numbers: Mapping[str, float], part: Part) -> Tensor:
        query, batch = self.batch.query, self.batch
        chosen = minibatches.choose(part, self.seed, batch.iteration, batch.tasks, query.mask.shape[1])
        new = self._outputs(leaves, create_graph=True, chosen=chosen)
        losses = self._task_losses(params, new, numbers, chosen)
        # a task's loss is a mean over its steps, and its episodes differ in length
        share = query.select_episodes(chosen).mask.sum((1, 2)) / query.mask.sum((1, 2))
        return part[2] * share * losses

    def _adapted(self, at: Tensor) -> Params:
        """Return the tasks' params adapted from these meta-params, `[K, ...]`: those that played, where these did."""
        if self.batch.adapted and torch.equal(at, self.batch.params):
            return {name: value.to(self.device) for name, value in self.batch.adapted.items()}
        path = adaptation_path(self.method, self.losses.loss, self._stacked(at), self.batch.support, create_graph=False)
        return path[-1]

    def _build_curvature(self, at: Tensor, stride: int) -> Callable[[Tensor], Tensor]:
        leaves, method, loss = self._leaves(at), self.method, self.losses.loss
        support = [self.losses.thin(data, stride) for data in self.batch.support]
        query = self.batch.query.every_nth_step(stride)
        adapted = adaptation_path(method, loss, leaves, support, create_graph=True)[-1]
        if stride > 1:  # linearise at the policies that the whole support leads to, not at those of the thinner one
            exact = self._adapted(at)
            adapted = {name: value + (exact[name] - value).detach() for name, value in adapted.items()}
        outputs = self.losses.outputs(adapted, query)
        points = list(leaves.values())
        jacobian = P.forward_derivative(outputs.parameters, points)
        fixed = P.each_tensor(Tensor.detach, outputs)

        def product(vector: Tensor) -> Tensor:
            tangents = list(self._stacked(vector).values())
            pushed = self.losses.fisher(fixed, jacobian(tangents), query)
            return P.flatten_stacked(P.pull_back(outputs.parameters, points, pushed))

        return product
