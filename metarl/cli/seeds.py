"""metarl train --seeds: the same training with several seeds, each a process and a folder of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from metarl.cli.console import plain_console
from metarl.errors import UserError
from metarl.experiment.directory import RunDirectory
from metarl.experiment.signals import Interrupted, handled_by
from metarl.threads import cpus

COMMAND = [sys.executable, "-c", "from metarl.cli import run; run()"]
"""How a process of ours is started, without relying on a `metarl` script on the PATH."""


def train_seeds(
    name: str, args: list[str], first: int, seeds: int, jobs: int, log_dir: Path, resume: bool, imports: str = ""
) -> int:
    """Train with several seeds, `jobs` of them at a time; returns the worst exit status.

    Signals are passed on, and each process saves its run; a second Ctrl-C of a terminal, which reaches all of them,
    stops them at once. What is ignored stays ignored, as SIGHUP under `nohup`. What a seed prints goes to `train.log`
    in its folder.

    Args:
        name: Preset, or what else is trained.
        args: The other options as they were typed, without `--seeds`, `--jobs`, `--seed`, `--log-dir` and `--resume`.
        first: The first seed.
        seeds: Number of them.
        jobs: How many to train at a time.
        log_dir: Folder that holds a folder a seed.
        resume: Whether to go on with those that have begun.
        imports: What `metarl eval` has to be told of the user's modules.

    Raises:
        Interrupted: If a signal stopped some of them.
    """
    if seeds < 1 or jobs < 1:
        raise UserError(f"seeds and jobs must be at least 1, got {seeds} and {jobs}")
    folders = {seed: log_dir / f"seed-{seed}" for seed in range(first, first + seeds)}
    if RunDirectory(log_dir).holds_run:
        raise UserError(f"{log_dir} holds a run itself; choose another --log-dir for those of several seeds")
    begun = [folder for folder in folders.values() if (folder / "config.json").exists()]
    if begun and not resume:
        raise UserError(f"{begun[0]} already holds a run; go on with it by --resume or choose another --log-dir")
    console = plain_console(soft_wrap=True)
    console.print(f"{name}: {seeds} seeds, {min(jobs, seeds)} at a time, writing to {log_dir}")
    threads = str(max(1, cpus() // min(jobs, seeds)))
    trainings = _Trainings(["train", name, *args], threads, console.print)
    with ThreadPoolExecutor(jobs) as pool, handled_by(trainings.pass_on):
        running = [pool.submit(trainings.run, seed, folder, folder in begun) for seed, folder in folders.items()]
        statuses = [future.result() for future in running]
    if trainings.signal is not None and any(statuses):
        stop = Interrupted(trainings.signal)
        stop.outcome = "each seed says what it saved"
        raise stop
    typed = shlex.quote(str(log_dir))
    further = [f"metarl plot {typed}", f"metarl eval {typed}{imports}", f"tensorboard --logdir {typed}"]
    console.print("\n  ".join(["\nLook further:", *further]))
    return max(statuses)


class _Trainings:
    """Trainings that differ in their seeds, each in a process of its own.

    Args:
        command: What to run, without seed and folder.
        threads: Threads of each process, where the user has not chosen.
        say: Tells the user of each training that has ended.
    """

    def __init__(self, command: list[str], threads: str, say: Callable[[str], object]) -> None:
        self.command, self.say = command, say
        self.environment = {"OMP_NUM_THREADS": threads, "METARL_PHYSICS_THREADS": threads, **os.environ}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.signal: int | None = None
        """The first signal that came; no other training begins then."""
        self._starting = threading.RLock()  # a second signal may find the first one's handler at work

    def pass_on(self, number: int, frame: Any) -> None:
        """Pass a signal on to the processes that run.

        SIGINT becomes SIGTERM: a terminal sends it to all of them, and for a process a second one means at once.
        """
        self.signal = number if self.signal is None else self.signal
        with self._starting:  # what is just being started is told too
            for process in self.processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    def run(self, seed: int, folder: Path, resume: bool) -> int:
        """Train with a seed; returns the exit status."""
        own = ["--seed", str(seed), "--log-dir", str(folder), *(["--resume"] if resume else [])]
        with self._starting:
            if self.signal is not None:
                return 128 + self.signal
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / "train.log", "a") as log:
                command = [*COMMAND, *self.command, *own]
                process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
            self.processes.append(process)
        status = process.wait()
        lines = ["", *(folder / "train.log").read_text(errors="replace").strip().splitlines()]
        if status < 0:
            lines.append(f"killed by {signal.Signals(-status).name}")
            status = 128 - status
        done = next((line for line in reversed(lines) if line.startswith("iteration ")), "")
        stopped = status > 128 and self.signal is not None
        told = done if status == 0 else lines[-1].removeprefix("metarl: ") if stopped else lines[-1] or str(status)
        self.say(f"seed {seed}{' failed' * (status != 0 and not stopped)}: {told}")
        return status
