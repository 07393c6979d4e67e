"""Further processes of a command, of which none is left over."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from metarl.experiment.signals import Interrupted, handled_by


class Helpers:
    """Processes that help with what is done in a `with` block, at whose end they are waited for.

    Whatever ends the block early, a signal too, ends them: they get SIGTERM, and a second SIGINT kills them.

    Args:
        commands: What to start, program and arguments of each.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self.commands = commands
        self.processes: list[subprocess.Popen[bytes]] = []
        self._stopped = False
        self._signals = contextlib.ExitStack()

    def __enter__(self) -> Helpers:
        """Start them."""
        self._signals.enter_context(handled_by(self._stop))
        self.processes = [subprocess.Popen(command) for command in self.commands]
        return self

    def _stop(self, number: int, frame: Any) -> None:
        """End the block, where nothing in it takes the signal."""
        if not self._stopped:
            self._stopped = True
            raise Interrupted(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        """Wait for them."""
        try:
            if kind is None:
                self._wait()
        except BaseException:
            self._end()
            raise
        else:
            if kind is not None:
                self._end()
        finally:
            self._signals.close()

    def _wait(self) -> None:
        for process in self.processes:
            if process.wait() != 0:
                print(f"metarl: a helper process ended with status {process.returncode}", file=sys.stderr)

    def _end(self) -> None:
        """Have them end."""
        self._stopped = True
        try:
            for process in self.processes:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            for process in self.processes:
                process.wait()
        except KeyboardInterrupt:
            for process in self.processes:
                process.kill()
                process.wait()
            raise
