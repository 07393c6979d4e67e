"""How torch's threads share the cores with the physics and with other programs.

OpenMP's threads spin for a while after every operation. That steals the cores from the physics pool,
and where another program wants them too, it makes a meta-update ten times slower. So threads sleep
soon (unless OMP_WAIT_POLICY says otherwise, or torch was imported before metarl): a short spin is as
fast as a long one on an idle machine. And torch runs on one thread while episodes are played.

The products of MKL, torch's library of them, must not depend on where in memory a task's numbers lie, or results
would depend on how the tasks are shared. On some processors they do, unless MKL is asked for reproducible ones
(MKL_CBWR), which cost nothing that we could measure.

Where the tasks can be shared among threads of ours (`side_by_side`), each of them runs torch and its share of the
physics: the network works on some tasks while the physics of others do, and no operation waits for another thread.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from metarl.errors import UserError

os.environ.setdefault("MKL_CBWR", "AUTO")  # read at the first product

if "OMP_WAIT_POLICY" not in os.environ:  # read once, when torch loads OpenMP
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # some 10 microseconds


def _alone() -> None:
    """Keep torch from waiting for the threads of OpenMP that a fork leaves behind."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)


class one_thread(AbstractContextManager[None]):
    """Run torch on one thread, as long as the block lasts."""

    def __enter__(self) -> None:
        """Remember the number of threads and set one."""
        import torch  # where it is needed: torch alone takes seconds to import

        self.torch = torch
        self.before = self.torch.get_num_threads()
        self.torch.set_num_threads(1)

    def __exit__(self, *exc: object) -> None:
        """Restore the number of threads."""
        self.torch.set_num_threads(self.before)


def cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpus_of_environments() -> int:
    """Return how many of them its environments may use: METARL_PHYSICS_THREADS bounds it, where programs share them.

    Raises:
        UserError: If that is no number of threads.
    """
    wanted = os.environ.get("METARL_PHYSICS_THREADS") or str(cpus())
    if not wanted.isdecimal() or int(wanted) < 1:
        raise UserError(f"METARL_PHYSICS_THREADS must be 1 or more threads, got {wanted!r}")
    return min(cpus(), int(wanted))


@contextmanager
def physics_shared_by(number: int) -> Iterator[None]:
    """Give environments that are made in the block their share of the cores, where so many are stepped side by side."""
    before = os.environ.get("METARL_PHYSICS_THREADS")
    if number > 1:
        os.environ["METARL_PHYSICS_THREADS"] = str(-(-cpus_of_environments() // number))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("METARL_PHYSICS_THREADS", None)
        else:
            os.environ["METARL_PHYSICS_THREADS"] = before


def threads_for(tasks: int) -> AbstractContextManager[None]:
    """Return the context in which torch computes something of so many tasks at once.

    Threads share out the tasks of a batch. In a lone task they would share out its sums, which rounds them differently.
    """
    return one_thread() if tasks == 1 else nullcontext()


def side_by_side(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return what the calls return: the first runs here, each other one in a thread; torch has one thread in each.

    They must not share a network: running it with other params changes it for a moment.

    Raises:
        BaseException: What a call raises, once all have ended. What interrupts the first one ends the others too.
    """
    if len(calls) == 1:
        return [calls[0]()]
    outcomes: list[Any] = [None] * len(calls)

    def run(i: int) -> None:
        outcomes[i] = _Raised.by(calls[i], BaseException)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(1, len(calls))]
    with one_thread():  # it holds for threads begun here
        for thread in threads:
            thread.start()
        try:
            outcomes[0] = _Raised.by(calls[0])
            for thread in threads:
                thread.join()
        except BaseException:  # a signal, in the first call or while waiting for the others
            _interrupt(threads)
            raise
    for outcome in outcomes:
        if isinstance(outcome, _Raised):
            raise outcome.error
    return outcomes


class _Raised:
    """An error instead of an answer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @staticmethod
    def by(call: Callable[[], Any], kind: type[BaseException] = Exception) -> Any:
        """Return what a call returns, or the error of this kind that it raises."""
        try:
            return call()
        except kind as error:
            return _Raised(error)


def _interrupt(threads: Sequence[threading.Thread]) -> None:
    """End threads at their next line of Python."""
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    for thread in threads:
        raise_in(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt))
    for thread in threads:
        thread.join()
