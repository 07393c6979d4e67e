"""The command line in processes of its own, that can be sent signals, killed and run out of disk."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from glob import glob
from pathlib import Path

from metarl.rl import processes as environments

CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = [
    "metarl.cli.train",
    "metarl.cli.runs",
    "metarl.models.load",
    "metarl.experiment.film",
    "metarl_envs.families.navigation",
    "matplotlib.pyplot",
    "scipy.signal",
    "scipy.stats",
    "torch.fx.experimental.symbolic_shapes",
]
"""What the server of processes has imported, so that a start takes milliseconds."""

if multiprocessing.parent_process() is None:  # one server for all, whether a command or an environment is the first
    CONTEXT.set_forkserver_preload(IMPORTED)
    environments.PRELOAD = IMPORTED

OPTIONS = (
    "--tasks 3 --episodes 3 --horizon 8 --hidden 8 --eval-tasks 2 --eval-episodes 2 --eval-every 3 --no-film".split()
)
SMALL = ["train", "point-navigation", *OPTIONS, "--checkpoint-every", "1"]


def nothing() -> None:
    """Leave the command as it is."""


class Command:
    """`metarl ARGUMENTS` in a process of its own.

    Args:
        arguments: The arguments.
        prepare: What to do in that process before.
        folder: Where it writes what it says.
    """

    def __init__(self, arguments: list[str], folder: Path, prepare: Callable[[], object] = nothing) -> None:
        self.out, self.err = folder / "stdout", folder / "stderr"
        self.process = CONTEXT.Process(target=_run, args=(arguments, self.out, self.err, prepare))
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def wait_for(self, text: str, timeout: float = 60) -> None:
        """Wait until it has said something."""
        end = time.time() + timeout
        while not (self.out.exists() and text in self.out.read_text()):
            if not self.process.is_alive() or time.time() > end:
                self.process.kill()
                raise AssertionError(f"{text!r} is never said: {self.said}")
            time.sleep(0.01)

    def send(self, name: str) -> None:
        """Send a signal; after another one the process may be gone already."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, getattr(signal, name))

    def end(self, timeout: float = 60) -> int:
        """Wait for its end; returns the exit status, or -n if signal n killed it."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"it hangs: {self.said}")
        return self.process.exitcode

    @property
    def said(self) -> str:
        """What it has said on standard error."""
        return self.err.read_text() if self.err.exists() else ""


def _run(arguments: list[str], out: Path, err: Path, prepare: Callable[[], object]) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    import torch

    from metarl.cli import run

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # as in a process that was started alone
    sys.argv = ["metarl", *arguments]
    prepare()
    run()


def children(pid: int) -> list[int]:
    """Return the processes that a process has started; a process that has ended has none."""
    found: list[int] = []
    for task in glob(f"/proc/{pid}/task/*/children"):
        with suppress(OSError):  # the thread, or the whole process, may end while it is read
            found += map(int, Path(task).read_text().split())
    return found


def running(pid: int) -> bool:
    """Return whether a process is there and not only waiting to be counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
