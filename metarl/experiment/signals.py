"""What may happen to a run from outside: signals, and a full disk."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
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
def handled_by(handle: Callable[[int, Any], None], numbers: Sequence[int] = STOPPING) -> Iterator[None]:
    """Have signals handled by a function as long as the block lasts; what is ignored stays so, as under `nohup`."""
    wanted = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP instead of dying of them; a second SIGINT is a KeyboardInterrupt."""
    caught: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGINT and caught:
            if not _writing or _writing[0]:  # a third one does not wait
                raise KeyboardInterrupt
            _writing[0] = True
        caught.append(number)

    if not _may_handle():
        yield caught
        return
    _writing.clear()
    with handled_by(handle):
        yield caught


def _may_handle() -> bool:
    """Return whether this is the main thread: no other may handle signals, or is interrupted by them."""
    return threading.current_thread() is threading.main_thread()


_writing: list[bool] = []
"""For each `writing` that goes on, whether a KeyboardInterrupt waits for its end; the outermost raises it."""


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Write in one piece, which a second SIGINT waits for; what the operating system says becomes the user's error.

    A KeyboardInterrupt between two lines of TensorBoard's queue can cost its thread a wakeup. The thread then sleeps
    for two minutes, and the end of the run waits for it.
    """
    counts, interrupted = _may_handle(), False
    try:
        if counts:
            _writing.append(False)
        yield
    except OSError as error:
        raise UserError(f"cannot write {what}: {error.strerror or error}; --resume goes on") from error
    finally:
        interrupted = counts and bool(_writing) and _writing.pop()
    if interrupted:
        raise KeyboardInterrupt


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
