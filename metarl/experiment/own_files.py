"""Which files are a run's own, and where a new run may write."""

from __future__ import annotations

import fnmatch
import itertools
import time
from pathlib import Path

from metarl.errors import UserError
from metarl.experiment.outputs import EVENTS

OWN = ("config.json", "progress.csv", "curve.json", "best.safetensors", "checkpoints", EVENTS)
"""What a run writes, as patterns: files of these names are never replaced by anything but the run."""


def own_files(folder: Path) -> list[str]:
    """Return the names of the files in a folder that are called as a run's own."""
    return sorted({file.name for name in OWN for file in folder.glob(name)})


def check_output(*files: Path) -> None:
    """Refuse to write what would replace a run's own file.

    Raises:
        UserError: If it would.
    """
    for file in files:
        real = file.resolve()
        folder = real.parent.parent if real.parent.name == "checkpoints" else real.parent
        own = real.parent.name == "checkpoints" or any(fnmatch.fnmatch(real.name, name) for name in OWN)
        if own and (folder / "config.json").exists():
            raise UserError(f"{str(file)!r} is a file of the run in {str(folder)!r}; choose another name")


def new_folder(parent: Path) -> Path:
    """Make a folder named after the time, which nobody else gets, and return it.

    Raises:
        UserError: If it cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        path = parent / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if number > 1000:
                raise
        except OSError as error:
            raise UserError(f"log directory {str(path)!r} cannot be written: {error.strerror}") from error
    raise AssertionError
