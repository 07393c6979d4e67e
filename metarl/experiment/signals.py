"""What may happen to a run from outside: signals, and a full disk."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from metarl.errors import UserError


class Interrupted(Exception):
    """The run ended early, after a whole iteration and with a checkpoint, because a signal asked for it."""

    outcome = "saved"
    """What has become of what was done."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that ask a run to end; SIGHUP comes when its terminal is closed."""


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP instead of dying of them; a second SIGINT is a KeyboardInterrupt.

    What is ignored stays ignored, as SIGHUP under `nohup`.
    """
    caught: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGINT and caught:
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield caught
        return
    wanted = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def full_disk(what: str) -> Iterator[None]:
    """Turn what the operating system says while something is written into the user's error."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {what}: {error.strerror or error}; --resume goes on") from error


@contextmanager
def quiet_writer() -> Iterator[None]:
    """Keep TensorBoard's thread from printing what stops it (a full disk): the next record raises it once more."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not (type(args.thread).__name__ == "_AsyncWriterThread" and issubclass(args.exc_type, OSError)):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
