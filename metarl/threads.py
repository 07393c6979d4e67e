"""How torch's threads share the cores with the physics and with other programs.

OpenMP's threads spin for a while after every operation. That steals the cores from the physics pool,
and where another program wants them too, it makes a meta-update ten times slower. So threads sleep
soon (unless OMP_WAIT_POLICY says otherwise, or torch was imported before metarl): a short spin is as
fast as a long one on an idle machine. And torch runs on one thread while episodes are played.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:  # read once, when torch loads OpenMP
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # some 10 microseconds


class one_thread:
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
