"""What a run writes: TensorBoard, CSV and the terminal, all through stable-baselines3's logger."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.logger import (
    CSVOutputFormat,
    Figure,
    HParam,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)
from torch.utils.tensorboard import SummaryWriter

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment.checkpoint import temporary_beside

TENSORBOARD_ONLY = ("stdout", "csv", "json", "log")
"""Outputs that a picture or a histogram is kept from."""


class Terminal(KVWriter):
    """A progress bar where somebody watches, a plain line an iteration elsewhere.

    Args:
        total: Meta-iterations of the whole run.
        name: What the bar says in front.
        console: Where to write; by default standard output.
    """

    def __init__(self, total: int, name: str, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stdout)
        self.total, self.evaluated = total, ""
        self.progress: Progress | None = None
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"),
                console=self.console,
            )
            self.progress.start()
            self.task = self.progress.add_task(name, total=total, numbers="")

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
        numbers = f"{measure} {_arrows(values, measure)}"
        if self.progress is not None:
            shown = f"{numbers}  {self.evaluated}"
            self.progress.update(self.task, completed=iteration, numbers=shown)
            return
        line = f"iteration {iteration}/{self.total}  steps {step:,}  {numbers}  {key_values['time/fps']:,.0f} steps/s"
        self.console.print(line + (f"  {self.evaluated}" if evaluation else ""), soft_wrap=True, highlight=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.progress is not None:
            self.progress.stop()


def log_figure(figure: matplotlib.figure.Figure, directory: Path, name: str, step: int) -> None:
    """Add a figure to a run's TensorBoard."""
    writer = SummaryWriter(str(directory))
    writer.add_figure(name, figure, step, close=False)
    writer.close()


EVENTS = "events.out.tfevents.*"
"""TensorBoard's files."""

DIGITS = {"return": 1, "loss": 3, "accuracy": 3}
"""Decimals that people look at."""


def _measured(key_values: dict[str, Any], group: str) -> tuple[str, list[float]]:
    """Return what was measured after each number of steps, and the values."""
    found = [key for key in key_values if key.startswith(f"{group}/") and "_step" in key]
    names = [key.removeprefix(f"{group}/").rpartition("_step")[0] for key in found]
    return (names[0] if names else "return"), [key_values[key] for key in found]


def _arrows(values: list[float], measure: str) -> str:
    shown = [f"{value:.{DIGITS[measure]}f}" for value in values]
    return " -> ".join(shown if len(shown) < 6 else [*shown[:2], "...", shown[-1]])


def make_logger(directory: Path | None, step: int, outputs: Sequence[KVWriter]) -> Logger:
    """Open the logs of a run, continuing after environment step `step`: later points are dropped.

    Args:
        directory: Run directory; None writes no files.
        step: Environment steps done so far, 0 for a new run.
        outputs: Where else the numbers go: the terminal, say.
    """
    outputs = list(outputs)
    if directory is not None:
        outputs.append(_csv(directory / "progress.csv", step))
        before = set(directory.glob(EVENTS))
        tensorboard = TensorBoardOutputFormat(str(directory))
        if before:  # tell TensorBoard to forget what a run that was cut off logged after its last checkpoint
            tensorboard.writer.close()
            for empty in set(directory.glob(EVENTS)) - before:
                empty.unlink()
            tensorboard.writer = SummaryWriter(str(directory), purge_step=step + 1)
        outputs.append(tensorboard)
    return Logger(None if directory is None else str(directory), outputs)


def curve_figure(curve: AdaptationCurve) -> Figure:
    """Draw an adaptation curve for TensorBoard."""
    figure = matplotlib.figure.Figure(figsize=(5, 3.8), layout="constrained")
    axis = figure.subplots()
    curve.draw(axis, "#4269d0", "")
    axis.set(xlabel=curve.unit, ylabel=curve.measure, title=f"{curve.env}, {len(curve.per_task)} held-out tasks")
    return Figure(figure, close=False)


def log_settings(logger: Logger, settings: dict[str, Any], measure: str, inner_steps: int, eval_steps: int) -> None:
    """Fill TensorBoard's HParams tab, and group the scalars that belong together in its custom layouts."""
    flat = {name: value for name, value in _leaves(settings) if isinstance(value, int | float | str | bool)}
    tracked = [f"meta/{measure}_step{inner_steps}", *(f"eval/{measure}_step{k}" for k in range(eval_steps + 1))]
    logger.record("hparams", HParam(flat, dict.fromkeys(tracked, 0.0)), TENSORBOARD_ONLY)
    layout = {
        "returns" if measure == "return" else measure: {
            "training tasks": ["Multiline", [f"meta/{measure}_step{k}" for k in range(inner_steps + 1)]],
            "held-out tasks": ["Multiline", [f"eval/{measure}_step{k}" for k in range(eval_steps + 1)]],
        },
        "seconds": {"iteration": ["Multiline", ["time/sampling_seconds", "time/meta_update_seconds"]]},
    }
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.add_custom_scalars(layout)


def _leaves(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _csv(path: Path, step: int) -> CSVOutputFormat:
    """Open the table with its rows up to `step`; stable-baselines3's own would begin anew."""
    rows = [row for row in read_rows(path) if row.get("time/total_timesteps", math.inf) <= step]
    fresh = temporary_beside(path)
    output = CSVOutputFormat(str(fresh))
    for row in rows:
        output.write(row, {}, 0)
    os.replace(fresh, path)  # which the open file follows
    return output


def read_rows(path: Path) -> list[dict[str, float]]:
    """Read a run's table, row by row; empty cells are left out, and so is a last row that was never finished.

    Raises:
        UserError: If the table is damaged.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text()
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.DictReader(io.StringIO(whole), strict=True, restkey="", restval="damaged"))
        return [{name: _number(value) for name, value in row.items() if value} for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{str(path)!r} is damaged ({error}); without it the run goes on with a new one") from error


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
