"""One worker in a Ray actor: what it is built from, and how it is called."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.core import params as P
from metarl.core.params import Params
from metarl.evaluation import AdaptationCurve, Evaluation, evaluate
from metarl.methods.protocols import InnerLoop
from metarl.workers.worker import Worker


@dataclass(frozen=True)
class Job:
    """What the actors need to know to build their workers."""

    build_inner_loop: Callable[..., InnerLoop]
    """Builds an inner loop, given `held_out` and the number of `tasks`."""
    like: Params
    """Params that give names and shapes to flat vectors."""
    seed: int
    """The run's seed."""
    tasks: int
    """Tasks of a meta-iteration."""
    eval_tasks: int
    """Held-out tasks of an evaluation."""


class Actor:
    """A worker in a process of its own.

    Args:
        job: The `Job`, pickled: only here, where the user's own modules are found.
        path: Where the driver finds modules.
        threads: How many threads it may use.
    """

    def __init__(self, job: bytes, path: list[str], threads: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
        os.environ["METARL_PHYSICS_THREADS"] = str(threads)
        torch.set_num_threads(threads)
        sys.path += [folder for folder in path if folder not in sys.path]
        self.job: Job = pickle.loads(job)
        self.place: tuple[int, int] | None = None
        self.worker: Worker
        self.eval_loop: InnerLoop | None = None

    def begin(self, index: int, workers: int) -> None:
        """Build the environments, unless they are there.

        Args:
            index: Which of the workers this is.
            workers: How many there are.
        """
        if self.place == (index, workers):
            return
        if self.place is not None:
            self._close()
        job, share = self.job, shares(self.job.tasks, workers)[index]
        inner_loop = job.build_inner_loop(tasks=len(share))
        self.worker = Worker(inner_loop, job.like, job.seed, job.tasks, share)
        self.place = index, workers

    def call(self, name: str, *args: Any) -> Any:
        """Call a method of the worker, or of this actor, with arrays for tensors both ways."""
        owner = self if hasattr(self, name) else self.worker
        return _arrays(getattr(owner, name)(*tensors(args)))

    def evaluate(self, params: Tensor, how: Evaluation) -> AdaptationCurve | None:
        """Draw the adaptation curve on its share of the held-out tasks, if it has any."""
        assert self.place is not None
        job, (index, workers) = self.job, self.place
        share = shares(job.eval_tasks, workers)[index]
        if not share:
            return None
        if self.eval_loop is None:
            self.eval_loop = job.build_inner_loop(held_out=True, tasks=len(share))
        return evaluate(self.eval_loop, P.unflatten(params, job.like), how, job.eval_tasks, share)

    def _close(self) -> None:
        """Close the environments of another share."""
        self.worker.inner_loop.close()
        if self.eval_loop is not None:
            self.eval_loop.close()
        self.place, self.eval_loop = None, None


def shares(tasks: int, workers: int) -> list[list[int]]:
    """Cut the task indices into contiguous shares whose sizes differ by at most one."""
    return [share.tolist() for share in np.array_split(np.arange(tasks), workers)]


def tensors(value: Any) -> Any:
    """Turn arrays, as Ray carries them without a copy, into tensors of one's own."""
    if isinstance(value, tuple):
        return tuple(tensors(part) for part in value)
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def _arrays(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_arrays(part) for part in value)
    return value.detach().numpy() if isinstance(value, Tensor) else value
