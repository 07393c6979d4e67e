"""Where a run's numbers go: TensorBoard, CSV and what else is given, all through stable-baselines3's logger."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import (
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    filter_excluded_keys,
)
from torch.utils.tensorboard import SummaryWriter

from metarl.errors import UserError
from metarl.experiment.checkpoint import write_atomically

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
    if directory is None:
        return Logger(None, list(outputs))
    table = Table(directory / "progress.csv", step)
    try:
        return Logger(str(directory), [*outputs, table, _tensorboard(directory, step)])
    except BaseException:
        table.close()
        raise


def _tensorboard(directory: Path, step: int) -> TensorBoardOutputFormat:
    before = set(directory.glob(EVENTS))
    tensorboard = TensorBoardOutputFormat(str(directory))
    if before:  # tell TensorBoard to forget what a run that was cut off logged after its last checkpoint
        tensorboard.writer.close()
        for empty in set(directory.glob(EVENTS)) - before:
            empty.unlink()
        tensorboard.writer = SummaryWriter(str(directory), purge_step=step + 1)
        _put_in_order(before, min(set(directory.glob(EVENTS)) - before))
    return tensorboard


def _put_in_order(before: Collection[Path], new: Path) -> None:
    """Rename older event files that TensorBoard, which goes by their names, would read after the new one.

    The names begin with the seconds of the clock, which may have been set back.
    """
    older = sorted(before, key=lambda file: file.name)
    stamp = re.match(r"events\.out\.tfevents\.(\d+)", new.name)
    if stamp is None or older[-1].name < new.name:
        return
    for number, file in enumerate(older):
        rest = re.sub(r"^events\.out\.tfevents\.\d*", "", file.name)
        earlier = int(stamp[1]) - len(older) + number
        os.rename(file, file.with_name(f"events.out.tfevents.{earlier:010d}{rest}"))


class Table(KVWriter):
    """A CSV file of which rows are appended; where new columns come, it is written anew beside the old one.

    stable-baselines3's own overwrites its file in place, and begins anew in a run that is resumed.

    Args:
        path: The file.
        step: Environment steps done so far; later rows are dropped.

    Raises:
        UserError: If the file that is there is damaged.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        rows = [row for row in read_rows(path) if row.get("time/total_timesteps", math.inf) <= step]
        self.names = list(dict.fromkeys(name for row in rows for name in row))
        self._replace(rows)

    def _replace(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put a new file into place, whole, and go on at its end."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.names, lineterminator="\n")
        if self.names:
            writer.writeheader()
            writer.writerows(rows)
        write_atomically(self.path, text.getvalue().encode(), make_folder=False)
        self.file = open(self.path, "a", newline="", encoding="utf-8")

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append a row."""
        row = filter_excluded_keys(key_values, key_excluded, "csv")
        if new := [name for name in row if name not in self.names]:
            rows = read_rows(self.path)
            self.names += new
            self.file.close()
            self._replace([*rows, row])
            return
        csv.DictWriter(self.file, self.names, lineterminator="\n").writerow(row)
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def read_rows(path: Path) -> list[dict[str, float]]:
    """Read a run's table, row by row; empty cells are left out, and so is a last row that was never finished.

    Raises:
        UserError: If the table is damaged.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.DictReader(io.StringIO(whole), strict=True, restkey="", restval="damaged"))
        return [{name: _number(value) for name, value in row.items() if value} for row in rows]
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{str(path)!r} is damaged ({error}); without it the run goes on with a new one") from error


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
