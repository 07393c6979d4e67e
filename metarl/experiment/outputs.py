"""Where a run's numbers go: TensorBoard, CSV and what else is given, all through stable-baselines3's logger."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

from stable_baselines3.common.logger import (
    CSVOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)
from torch.utils.tensorboard import SummaryWriter

from metarl.errors import UserError
from metarl.experiment.checkpoint import temporary_beside

TENSORBOARD_ONLY = ("stdout", "csv", "json", "log")
"""Outputs that a picture or a histogram is kept from."""


EVENTS = "events.out.tfevents.*"
"""TensorBoard's files."""


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
