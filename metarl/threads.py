"""How torch's threads share the cores with the physics and with other programs.

OpenMP's threads spin for a while after every operation. That steals the cores from the physics pool,
and where another program wants them too, it makes a meta-update ten times slower. So threads sleep
soon (unless OMP_WAIT_POLICY says otherwise, or torch was imported before metarl): a short spin is as
fast as a long one on an idle machine. And torch runs on one thread while episodes are played.
"""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

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


def threads_for(tasks: int) -> AbstractContextManager[None]:
    """Return the context in which torch computes something of so many tasks at once.

    Threads share out the tasks of a batch. In a lone task they would share out its sums, which rounds them differently.
    """
    return one_thread() if tasks == 1 else nullcontext()
