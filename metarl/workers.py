"""Several workers as one: what the outer updates ask, asked of all of them and added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.core.adam import Part
from metarl.errors import Fault, NotFinite, OnNan, stop_at
from metarl.worker import Worker


class Workers:
    """Several workers as one: collects on all, and adds up their answers.

    Args:
        workers: The workers.
        on_nan: Whether a task in which something is not finite stops the run or is left out; without
            any task left the run stops in either case.
    """

    def __init__(self, workers: Sequence[Worker], on_nan: OnNan = "stop") -> None:
        self.workers, self.on_nan = list(workers), on_nan
        self.dropped: dict[int, Fault] = {}
        self._left = sum(len(worker.share) for worker in self.workers)

    def ask(self, name: str, *args: Any) -> list[Any]:
        """Call a method of every worker and return their answers in order."""
        return [getattr(worker, name)(*args) for worker in self.workers]

    def close(self) -> None:
        """Nothing to close."""

    def collect(self, params: Tensor, iteration: int) -> dict[str, Any]:
        """Collect on every worker; arrays are joined along the tasks, counts added.

        Raises:
            NotFinite: If something is not finite and stops the run; names task and step.
        """
        parts = self.ask("collect", params, iteration)
        faults = {task: fault for part in parts for task, fault in part["faults"].items()}
        self.dropped = {}
        self._episodes = parts[0]["returns"][-1].shape[1]
        self._left = len(faults) + sum(len(part["lengths"]) for part in parts)
        if faults:
            self._drop(faults)
        return {
            "returns": [np.concatenate(phase) for phase in zip(*(part["returns"] for part in parts), strict=True)],
            "lengths": np.concatenate([part["lengths"] for part in parts]),
            "steps": sum(part["steps"] for part in parts),
            "unstable": sum(part["unstable"] for part in parts),
        }

    def _drop(self, faults: dict[int, Fault]) -> None:
        """Leave tasks out of this meta-iteration, or stop."""
        if self.on_nan == "stop":
            stop_at(faults)
        self.dropped = self.dropped | faults
        self._left -= len(faults)
        if not self._left:
            stop_at(self.dropped)
        self.ask("drop", list(self.dropped), self._left)

    def parts(self, wanted: int) -> int:
        """Return into how many parts each task's query episodes can be cut, where so many are wanted."""
        return min(wanted, self._episodes)

    def loss_and_gradient(self, params: Tensor, part: Part | None = None) -> tuple[float, Tensor]:
        """Return the mean loss over all tasks and its gradient `[P]`, on a part of their query episodes if given.

        Raises:
            NotFinite: If the gradient is not finite and stops the run; names the task.
        """
        losses, gradients = zip(*self.ask("loss_and_gradient", params, part), strict=True)
        gradient = torch.stack(gradients).sum(0)
        if torch.isfinite(gradient).all():
            return sum(losses), gradient
        self._drop_some(self.ask("gradient_faults", params, part), "the meta-gradient")
        return self.loss_and_gradient(params, part)

    def _drop_some(self, found: list[dict[int, Fault]], what: str) -> None:
        """Leave out what the workers found, or stop where every part is finite and only the sum is not."""
        faults = {task: fault for part in found for task, fault in part.items()}
        if not faults:
            raise NotFinite(f"{what} is not finite in the sum over tasks")
        self._drop(faults)

    def fisher_product(self, vector: Tensor, stride: int) -> Tensor:
        """Return the Fisher product of all tasks, `[P]`."""
        return torch.stack(self.ask("fisher_product", vector, stride)).sum(0)

    def loss_and_kl(self, params: Tensor) -> tuple[float, float]:
        """Return the mean loss and KL divergence over all tasks."""
        losses, kls = zip(*self.ask("loss_and_kl", params), strict=True)
        return sum(losses), sum(kls)

    def support_kl(self, params: Tensor) -> float:
        """Return the mean KL divergence on the support data over all tasks."""
        return sum(self.ask("support_kl", params))

    def adapted(self) -> Tensor:
        """Return the mean of all tasks' adapted params, `[P]`."""
        mean = torch.stack(self.ask("adapted")).sum(0)
        if torch.isfinite(mean).all():
            return mean
        self._drop_some(self.ask("adapted_faults"), "adapted param")
        return self.adapted()

    def return_moments(self) -> tuple[float, float]:
        """Return mean and mean square over all tasks of the return after adaptation."""
        means, squares = zip(*self.ask("return_moments"), strict=True)
        return sum(means), sum(squares)

    def prepare(self, numbers: Mapping[str, float]) -> None:
        """Tell every worker the numbers that this iteration's objective depends on."""
        self.ask("prepare", numbers)
