"""What a run shows where it was started: a progress bar on a terminal or in a notebook, plain lines elsewhere."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from html import escape
from typing import IO, Any, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text
from stable_baselines3.common.logger import KVWriter

from metarl.errors import UserError

DIGITS = {"return": 1, "loss": 3, "accuracy": 3, "success": 3}
"""Decimals that people look at."""


def digits(measure: str, values: Iterable[float]) -> int:
    """Return how many decimals to show of values that stand side by side: one more of returns that are all small."""
    return DIGITS[measure] + (measure == "return" and all(abs(value) < 10 for value in values))


class _StandardOutput:
    """Standard output. A terminal that has been closed takes no more, which is no error: SIGHUP tells of it."""

    def write(self, text: str) -> int:
        """Write a text.

        Raises:
            UserError: If it cannot be written.
        """
        return self._call("write", text) or len(text)

    def flush(self) -> None:
        """Write what is left; errors as `write`."""
        self._call("flush")

    def _call(self, name: str, *args: str) -> Any:
        try:
            return getattr(sys.stdout, name)(*args)
        except BrokenPipeError:
            raise  # which the console knows
        except OSError as error:
            if error.errno != errno.EIO:
                raise UserError(f"cannot write to standard output: {error.strerror}") from error
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Say so; rich ends the process without a word."""
        self.quiet = True
        with suppress(OSError, ValueError):  # the interpreter writes what is left when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError("nobody reads standard output any more; the run stopped and is saved, --resume goes on")


class Terminal(KVWriter):
    """A progress bar on a terminal and in a notebook, a plain line an iteration elsewhere.

    Args:
        total: Meta-iterations of the whole run.
        name: What the bar says in front.
        console: Where to write; by default standard output.
    """

    def __init__(self, total: int, name: str, console: Console | None = None) -> None:
        self.console = console or _Console(file=cast(IO[str], _StandardOutput()))
        self.total, self.evaluated = total, ""
        name = name.rpartition("/")[2]
        self.bar: Bar | Page | None = None
        if self.console.is_jupyter:
            self.bar = Page(name, total)
        elif self.console.is_terminal:
            self.bar = Bar(name, total, self.console)

    def start(self) -> None:
        """Show the bar, empty."""
        if isinstance(self.bar, Bar):
            self.bar.live.start()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Show the numbers of one iteration."""
        measure, evaluation = _measured(key_values, "eval")
        if evaluation:
            self.evaluated = "held-out " + _arrows(evaluation, measure)
        if "train/dropped" in key_values:
            self.console.print(f"metarl: {key_values['train/dropped']}", soft_wrap=True, highlight=False, markup=False)
        if "time/iterations" not in key_values:
            return
        iteration = int(key_values["time/iterations"])
        measure, values = _measured(key_values, "meta")
        if self.bar is not None:
            first_and_last = [*values[:1], *values[1:][-1:]]
            self.bar.show(iteration, f"{measure} {_arrows(first_and_last, measure)}", self.evaluated)
            return
        numbers = f"{measure} {_arrows(values, measure)}"
        line = f"iteration {iteration}/{self.total}  steps {step:,}  {numbers}  {key_values['time/fps']:,.0f} steps/s"
        for shown in (line, *([self.evaluated] if evaluation else [])):
            self.console.print(shown, soft_wrap=True, highlight=False, markup=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


class Bar:
    """A bar of one line, and below it what was last measured on held-out tasks: together they fit 80 columns."""

    def __init__(self, name: str, total: int, console: Console) -> None:
        columns = [
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=20)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8)),
            *(MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()),
            TextColumn("{task.fields[numbers]}", markup=False, table_column=Column(no_wrap=True)),
        ]
        self.progress = Progress(*columns, console=console, auto_refresh=False, expand=True)
        self.task = self.progress.add_task(name, total=total, numbers="")
        self.evaluated = Text(no_wrap=True, overflow="ellipsis")
        self.live = Live(Group(self.progress, self.evaluated), console=console, refresh_per_second=4)

    def show(self, iteration: int, numbers: str, evaluated: str) -> None:
        """Show how far it is, and the numbers."""
        self.live.start()  # if nobody has yet
        self.evaluated.plain = evaluated
        self.progress.update(self.task, completed=iteration, numbers=numbers)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.live.stop()


class Page:
    """A bar in a notebook, which needs no widgets and stays in the notebook's file."""

    def __init__(self, name: str, total: int) -> None:
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        self.name, self.total = name, total
        self.handle: Any = display(self._data(0, "", ""), raw=True, display_id=True)

    def show(self, iteration: int, numbers: str, evaluated: str) -> None:
        """Show how far it is, and the numbers."""
        self.handle.update(self._data(iteration, numbers, evaluated), raw=True)

    def _data(self, iteration: int, numbers: str, evaluated: str) -> dict[str, str]:
        said = "  ".join(part for part in (f"{self.name} {iteration}/{self.total}", numbers, evaluated) if part)
        return {
            "text/plain": said,
            "text/html": f"<progress value={iteration} max={self.total}></progress> {escape(said)}",
        }

    def close(self) -> None:
        """Leave the bar as it stands."""


def _measured(key_values: dict[str, Any], group: str) -> tuple[str, list[float]]:
    """Return what was measured after each number of steps, and the values; success stands beside it elsewhere."""
    for measure in DIGITS:
        if found := [key_values[key] for key in key_values if re.fullmatch(rf"{group}/{measure}_step\d+", key)]:
            return measure, found
    return "return", []


def _arrows(values: list[float], measure: str) -> str:
    shown = [f"{value:.{digits(measure, values)}f}" for value in values]
    return " -> ".join(shown if len(shown) < 5 else [*shown[:2], "...", shown[-1]])
