"""The workers as Ray actors: each owns a share of the tasks, and only flat vectors and numbers travel."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from metarl.errors import NotFinite, OnNan, UserError
from metarl.evaluation import AdaptationCurve, Evaluation
from metarl.workers.local import Workers
from metarl.workers.ray_actor import Actor, Job, shares, tensors
from metarl.workers.ray_cluster import connect, disconnect

RESTARTS = 3
"""How often a worker may die in one call before its environment is to blame."""
START_SECONDS = 120.0
"""Least time a worker has to start and build its environments."""

log = logging.getLogger("metarl")


@dataclass(frozen=True)
class Member:
    """An actor, and what the cluster keeps for it."""

    actor: Any
    """Ray's handle of an `Actor`."""
    cpus: int
    """CPUs that Ray keeps for it; none where it took another's place, wherever there was room."""


class RayWorkers(Workers):
    """Ray actors as one worker. One that dies is replaced by a new one that does the same work again.

    Its replacement collects the running iteration's data with the same seeds, so the run goes on as if nothing had
    happened.

    Args:
        where: A number of actors on this machine; or `auto` or `ray://HOST[:PORT]`, a cluster with an
            actor for each CPU that is free, at most one for each task; see `ElasticWorkers`.
        job: What to work on.
        timeout: Seconds after which an actor that gives no answer counts as hung.
        on_nan: Whether a task in which something is not finite stops the run or is left out.

    Raises:
        UserError: If Ray is not installed, the cluster cannot be reached or has no CPU free, or a
            worker cannot build its environments.
    """

    OPENING: ClassVar[tuple[str, ...]] = ("collect", "evaluate")
    """Calls that depend on nothing before them."""
    REMEMBERED: ClassVar[tuple[str, ...]] = ("collect", "drop")
    """Calls that later ones depend on: which data a worker holds. All else is in the arguments."""

    def __init__(self, where: int | str, job: Job, timeout: float, on_nan: OnNan = "stop") -> None:
        super().__init__([], on_nan)
        self.timeout, self.tasks = timeout, job.tasks
        self._journal: list[tuple[str, tuple[Any, ...]]] = []
        self.members: list[Member] = []
        self.ray = connect(where, self)
        try:
            self._pickled = self._pickle(job)
            free = int(self.ray.available_resources().get("CPU", 0))
            number = where if isinstance(where, int) else min(job.tasks, free)
            if not number:
                raise UserError(f"workers {where!r}: no CPU of the cluster is free")
            self.cpus = self._cpus_each(free, number)
            self.members = [self._start(self.cpus) for _ in range(number)]
            self._share_out()
        except BaseException:
            self.close()
            raise

    @property
    def actors(self) -> list[Any]:
        """The actors, in the order of their shares."""
        return [member.actor for member in self.members]

    def ask(self, name: str, *args: Any) -> list[Any]:
        """Call a method of every worker and return their answers in order.

        Raises:
            UserError: If a worker hangs, or dies again and again; or as the method does.
        """
        if name in self.OPENING:
            self._journal = []
        # one copy in the object store serves all workers
        sent = tuple(self.ray.put(arg.numpy()) if isinstance(arg, Tensor) else arg for arg in args)
        answers = self._answers(name, sent, self.timeout)
        if name in self.REMEMBERED:
            self._journal.append((name, sent))
        return [tensors(answer) for answer in answers]

    def evaluate(self, params: Tensor, how: Evaluation) -> AdaptationCurve:
        """Draw the adaptation curve on the held-out tasks, shared among the workers.

        Args:
            params: Meta-params, `[P]`.
            how: Steps, seed, and what else is the same for every worker.
        """
        return AdaptationCurve.joined([part for part in self.ask("evaluate", params, how) if part is not None])

    def close(self) -> None:
        """End the actors, and Ray if it was started for them."""
        if self.ray.is_initialized():
            for actor in self.actors:
                self.ray.kill(actor)
        self.members = []
        disconnect(self)

    def _pickle(self, job: Job) -> bytes:
        try:
            return self.ray.cloudpickle.dumps(job)
        except Exception as error:  # whatever the user's objects raise
            raise UserError(
                f"what the workers need cannot be sent to them ({type(error).__name__}: {error}); "
                "make environment, policy and method from what can be pickled"
            ) from error

    def _share_out(self) -> None:
        """Have each actor build the environments of its share of the tasks."""
        self.shares, self._journal = shares(self.tasks, len(self.members)), []
        self._answers("begin", (), max(self.timeout, START_SECONDS))

    def _cpus_each(self, free: int, number: int) -> int:
        """Return how many of the free CPUs each of some actors may have."""
        return _fitting(free // number, number, self.ray.nodes())

    def _start(self, cpus: int) -> Member:
        # a new actor each time, not one that Ray restarts: it may find room where the old one's CPUs are lost
        options = {"num_cpus": cpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        remote = self.ray.remote(Actor).options(**options)
        return Member(remote.remote(*self._arguments()), cpus)

    def _arguments(self) -> tuple[Any, ...]:
        return self._pickled, sys.path, max(1, self.cpus)

    def _call(self, index: int, name: str, sent: tuple[Any, ...]) -> Any:
        return self.actors[index].call.remote(name, *((index, len(self.members)) if name == "begin" else sent))

    def _replace(self, index: int, why: Exception) -> None:
        """Start a worker anew and have it repeat what the running iteration has asked of it."""
        tasks = _range(self.shares[index])
        log.warning("metarl: the worker of %s died (%s); a new one does its work again", tasks, _first_line(why))
        self.ray.kill(self.actors[index])  # it may be cut off and still alive
        self.members[index] = self._start(0)

    def _answers(self, name: str, sent: tuple[Any, ...], timeout: float) -> list[Any]:
        answers: list[Any] = [None] * len(self.members)
        waiting = {index: [self._call(index, name, sent)] for index in range(len(self.members))}
        deaths = Counter[int]()
        while dead := self._fetch(waiting, answers, name, timeout):
            waiting = {}
            for index, why in dead.items():
                deaths[index] += 1
                if deaths[index] > RESTARTS:
                    tasks = _range(self.shares[index])
                    raise UserError(f"the worker of {tasks} died {RESTARTS + 1} times in {name!r}: {_first_line(why)}")
                self._replace(index, why)
                again = [*([] if name == "begin" else [("begin", ())]), *self._journal, (name, sent)]
                waiting[index] = [self._call(index, earlier, args) for earlier, args in again]
            timeout = max(timeout, START_SECONDS)
        return answers

    def _fetch(
        self, waiting: dict[int, list[Any]], answers: list[Any], name: str, timeout: float
    ) -> dict[int, Exception]:
        """Fill in the answers that come; return the workers that died instead, and why."""
        refs = [ref for own in waiting.values() for ref in own]
        _, late = self.ray.wait(refs, num_returns=len(refs), timeout=timeout)
        if late:
            self._give_up([index for index, own in waiting.items() if set(own) & set(late)], name, timeout)
        errors, dead = self.ray.exceptions, {}
        try:
            try:
                got = dict(zip(refs, self.ray.get(refs), strict=True))
                answers_of = {index: got[own[-1]] for index, own in waiting.items()}
            except errors.RayActorError:
                answers_of = {}
                for index, own in waiting.items():
                    try:
                        answers_of[index] = self.ray.get(own)[-1]
                    except errors.RayActorError as error:
                        dead[index] = error
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError | NotFinite):
                raise error.cause from None
            raise  # the message holds the traceback of the user's own code
        for index, answer in answers_of.items():
            answers[index] = answer
        return dead

    def _give_up(self, hung: list[int], name: str, timeout: float) -> None:
        for index in hung:
            self.ray.kill(self.actors[index])
        tasks = " and of ".join(_range(self.shares[index]) for index in hung)
        raise UserError(
            f"the worker of {tasks} gave no answer to {name!r} within {timeout:g} s (worker_timeout): "
            "its environment hangs, or needs more time"
        )


def _fitting(cpus: int, workers: int, nodes: Iterable[dict[str, Any]]) -> int:
    """Return the most CPUs for each worker, up to `cpus`, with which all workers find room on the nodes."""
    sizes = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
    while cpus > 1 and sum(size // cpus for size in sizes) < workers:
        cpus -= 1
    return cpus


def _range(share: list[int]) -> str:
    return f"task {share[0]}" if len(share) == 1 else f"tasks {share[0]}-{share[-1]}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
