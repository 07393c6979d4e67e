"""Ray actors on a cluster whose machines come and leave: their number follows the CPUs that are free."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from torch import Tensor

from metarl.errors import OnNan
from metarl.workers.ray_actor import Job
from metarl.workers.ray_workers import START_SECONDS, Member, RayWorkers

LOOK_SECONDS = 10.0
"""Least time between two looks at the cluster; a CPU that was free at both may be used."""
RETRY_SECONDS = 600.0
"""Time without newcomers after one of them failed: its machine may lack what others have, or come and go."""

log = logging.getLogger("metarl")


class ElasticWorkers(RayWorkers):
    """Ray actors whose number may change between meta-iterations; results do not depend on it.

    Newcomers start in the background where CPUs are free, at most one a task, and only as many as make the largest
    share smaller; they get shares once all of them have built their environments. Actors whose CPUs are lost are
    let go where no other CPU is free for them. The others keep their processes and get new shares.

    Args:
        where: `auto` or `ray://HOST[:PORT]`.
        job: What to work on.
        timeout: Seconds after which an actor that gives no answer counts as hung.
        on_nan: Whether a task in which something is not finite stops the run or is left out.

    Raises:
        UserError: As `RayWorkers` does.
    """

    def __init__(self, where: str, job: Job, timeout: float, on_nan: OnNan = "stop") -> None:
        self.newcomers: dict[Any, Member] = {}  # by the answer that each owes
        self._deadline = 0.0  # of theirs
        self._next_look = self._next_start = 0.0
        self._free = 0  # CPUs at the last look
        super().__init__(where, job, timeout, on_nan)

    def collect(self, params: Tensor, iteration: int) -> dict[str, Any]:
        """Collect on as many workers as there is room for now; see `Workers`."""
        now = time.monotonic()
        if self.newcomers or now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look(now)
        return super().collect(params, iteration)

    def close(self) -> None:
        """End the actors, and those that were to join."""
        if self.ray.is_initialized():
            self._kill(list(self.newcomers.values()))
        self.newcomers = {}
        super().close()

    def _replace(self, index: int, why: Exception) -> None:
        super()._replace(index, why)
        self._next_look = 0.0  # the new one has no CPU of its own

    def _look(self, now: float) -> None:
        """Take in newcomers that are ready, or look for room for some; let those go for whom no CPU is left."""
        placed = [member for member in self.members if member.cpus]
        if self.newcomers:
            ready = self._ready(now)
            if ready is None:
                return
            if _fewest(self.tasks, len(placed) + len(ready)) > len(placed):
                self._go_on_with(placed + ready, "CPUs of the cluster have become free")
                return
            self._kill(ready)
        self._start_newcomers(len(placed), now)
        if not self.newcomers and len(placed) < len(self.members):
            self._go_on_with(placed or self.members[:1], "the cluster has no CPU for those that died")

    def _ready(self, now: float) -> list[Member] | None:
        """Return the newcomers that can work; None while others are still on their way and in time."""
        answers, late = self.ray.wait(list(self.newcomers), num_returns=len(self.newcomers), timeout=0)
        if late and now < self._deadline:
            return None
        self._kill([self.newcomers[answer] for answer in late])  # others took the CPU, say
        self._next_start = now + LOOK_SECONDS if late else 0.0
        ready = []
        for answer in answers:
            try:
                self.ray.get(answer)
                ready.append(self.newcomers[answer])
            except self.ray.exceptions.RayError as error:
                log.warning("metarl: a worker that was to join failed (%s); the run goes on without it", _last(error))
                self._kill([self.newcomers[answer]])
                self._next_start = now + RETRY_SECONDS
        self.newcomers, self._free = {}, 0
        return ready

    def _start_newcomers(self, placed: int, now: float) -> None:
        """Start as many as pay where CPUs are free now and were at the last look, or died with their actors."""
        free = int(self.ray.available_resources().get("CPU", 0))
        steady, self._free = min(free, self._free), free
        usable = steady if placed == len(self.members) else free
        if not usable or now < self._next_start:
            return
        if not placed:  # nobody is left to be like
            self.cpus = self._cpus_each(usable, min(self.tasks, usable))
        number = _fewest(self.tasks, placed + usable // self.cpus)
        for index in range(placed, number):
            member = self._start(self.cpus)
            self.newcomers[member.actor.call.remote("begin", index, number)] = member
        self._deadline = now + START_SECONDS

    def _go_on_with(self, members: list[Member], why: str) -> None:
        """Share the tasks among these actors; the others end."""
        before, now = len(self.members), len(members)
        if before != now:
            log.warning("metarl: %d worker%s instead of %d: %s", now, "s" * (now > 1), before, why)
        self._kill([member for member in self.members if member not in members])
        self.members = members
        self._share_out()

    def _kill(self, members: list[Member]) -> None:
        for member in members:
            self.ray.kill(member.actor)


def _fewest(tasks: int, workers: int) -> int:
    """Return the least number of workers whose largest share of the tasks is that of so many workers."""
    return math.ceil(tasks / math.ceil(tasks / workers)) if workers else 0


def _last(error: Exception) -> str:
    """Return the last line of what Ray says, which is the error's own."""
    return str(error).strip().splitlines()[-1].rstrip(".")
