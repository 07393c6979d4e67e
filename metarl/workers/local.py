"""Several workers as one: what is asked of all of them, and added up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from torch import Tensor

from metarl.errors import Fault, NotFinite, OnNan, stop_at
from metarl.evaluation import filled_success
from metarl.threads import side_by_side
from metarl.workers.worker import Worker


class Workers:
    """Several workers as one: collects on all, and leaves out the tasks in which something is not finite.

    Args:
        workers: The workers.
        on_nan: Whether a task in which something is not finite stops the run or is left out; without
            any task left the run stops in either case.
        threads: Whether each has a thread; then each has a network of its own.
    """

    def __init__(self, workers: Sequence[Worker], on_nan: OnNan = "stop", threads: bool = False) -> None:
        self.workers, self.on_nan, self.threads = list(workers), on_nan, threads
        self.dropped: dict[int, Fault] = {}
        self.episodes = 0  # of a task
        self.remaining = sum(len(worker.share) for worker in self.workers)

    def ask(self, name: str, *args: Any) -> list[Any]:
        """Call a method of every worker and return their answers in order."""
        calls = [partial(getattr(worker, name), *args) for worker in self.workers]
        return side_by_side(calls) if self.threads else [call() for call in calls]

    def close(self) -> None:
        """Nothing to close."""

    def collect(self, params: Tensor, iteration: int) -> dict[str, Any]:
        """Collect on every worker; arrays are joined along the tasks, counts added.

        Where no environment tells of success, that list is empty.

        Raises:
            NotFinite: If something is not finite and stops the run; names task and step.
        """
        parts = self.ask("collect", params, iteration)
        faults = {task: fault for part in parts for task, fault in part["faults"].items()}
        self.dropped = {}
        self.episodes = parts[0]["returns"][-1].shape[1]
        self.remaining = len(faults) + sum(len(part["lengths"]) for part in parts)
        if faults:
            self.drop(faults)
        returns, success = ([*chain.from_iterable(part[name] for part in parts)] for name in ("returns", "success"))
        success, phases = filled_success(success, returns), len(parts[0]["returns"])
        return {
            "returns": [np.concatenate(returns[phase::phases]) for phase in range(phases)],
            "success": [np.concatenate(success[phase::phases]) for phase in range(phases * bool(success))],
            "lengths": np.concatenate([part["lengths"] for part in parts]),
            "steps": sum(part["steps"] for part in parts),
            "unstable": sum(part["unstable"] for part in parts),
        }

    def drop(self, faults: dict[int, Fault]) -> None:
        """Leave tasks out of this meta-iteration, or stop.

        Raises:
            NotFinite: If a fault stops the run, or no task remains.
        """
        if self.on_nan == "stop":
            stop_at(faults)
        self.dropped = self.dropped | faults
        self.remaining -= len(faults)
        if not self.remaining:
            stop_at(self.dropped, left=0)
        self.ask("drop", list(self.dropped))

    def drop_found(self, found: list[dict[int, Fault]], what: str) -> None:
        """Leave out what the workers found, or stop where every part is finite and only the sum is not.

        Raises:
            NotFinite: As `drop`; and if nothing was found.
        """
        faults = {task: fault for part in found for task, fault in part.items()}
        if not faults:
            raise NotFinite(f"{what} is not finite in the sum over tasks")
        self.drop(faults)
