"""The directory of one run, as a training writes to it."""

from __future__ import annotations

import dataclasses
import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metarl.errors import UserError, few
from metarl.experiment import checkpoint
from metarl.experiment.base_config import Settings
from metarl.experiment.checkpoint import Checkpoint
from metarl.experiment.config_file import as_dict
from metarl.experiment.lock import Hold
from metarl.experiment.outputs import read_rows
from metarl.experiment.own_files import own_files
from metarl.experiment.run_files import FORMAT, RunFiles
from metarl.experiment.versions import git_commit, versions
from metarl.seeding import RANDOM_NUMBERS


class RunDirectory(RunFiles):
    """The directory of one run, which one process at a time trains: it holds a lock (`run.lock`).

    Args:
        path: The run directory.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        if not str(path):  # which means this folder
            raise UserError("a run directory must have a name, got ''; this folder is .")
        try:
            str(path).encode()
        except UnicodeEncodeError as error:  # which TensorBoard cannot write
            raise UserError(f"the name of a run directory must be UTF-8, got {str(path)!r}") from error
        self.lost = False  # whether it was found moved or removed
        self._hold: Hold | None = None
        self._left: tuple[str | None, list[str]] | None = None

    def create(self, config: Settings) -> None:
        """Begin a run: write its configuration, versions, seed and where the code stood.

        A run that was stopped before its first checkpoint begins anew.

        Raises:
            UserError: If a run is here already, or files that bear the names of ours, or the directory cannot be
                written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.refuse_links()
            self.check_free()
            with self.held():
                self.check_free()  # somebody else may have begun one in between
                self.sweep()
                checkpoint.write_json(self.config_file, {"run": uuid.uuid4().hex, **self.record(config)})
        except OSError as error:
            raise UserError(f"log directory {str(self.path)!r} cannot be written: {error.strerror}") from error

    def record(self, config: Settings) -> dict[str, Any]:
        """Return what `config.json` records of a run that begins: settings, versions, seed and where the code stood."""
        return {
            "format": FORMAT,
            "config": as_dict(config),
            "seed": config.seed,
            "random_numbers": RANDOM_NUMBERS,
            "versions": versions(),
            "git_commit": git_commit(),
            "command": [arg.encode(errors="backslashreplace").decode() for arg in sys.argv],  # names may be no UTF-8
        }

    def check_free(self) -> None:
        """Refuse a directory in which a new run would lose or mix what is there.

        Raises:
            UserError: If it is one.
        """
        try:
            found = own_files(self.path)
        except OSError as error:
            raise UserError(f"log directory {str(self.path)!r} cannot be read: {error.strerror}") from error
        if found and not _is_record(self.recorded()):
            raise UserError(f"{str(self.path)!r} holds {few(found)}, but no run of metarl; choose another --log-dir")
        if found and self.begun:
            how = "resume it by --resume (in Python, resume=True)"
            raise UserError(f"{self.path} already holds a run; {how} or choose another log_dir")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from writing here, as long as the block lasts.

        Raises:
            UserError: If somebody does, or has done since this object last did.
        """
        if self._hold is not None:
            yield
            return
        self._hold = Hold(self.path)
        try:
            if self._left not in (None, self._stands()):
                raise UserError(f"{str(self.path)!r} has been trained further by others; load it again to go on")
            try:
                yield
            finally:
                self._left = self._stands()
        finally:
            hold, self._hold = self._hold, None
            hold.release(self.path)

    def _stands(self) -> tuple[str | None, list[str]]:
        return self.run, [file.name for file in self.checkpoints()[-1:]]

    def check_in_place(self) -> None:
        """Stop a run whose directory has been moved or removed; what is saved after that goes where it is now.

        Raises:
            UserError: If it has been.
        """
        if self._hold is None or self._hold.is_at(self.path):
            return
        before, found, self.lost = self.path, self._hold.where(), True
        if found is None:
            raise UserError(f"{str(before)!r} was removed during the run, which cannot go on")
        self.path = found
        raise UserError(
            f"{str(before)!r} was moved to {str(found)!r} during the run, which stopped; --resume with that goes on"
        )

    def check_whole(self) -> None:
        """Refuse to call a run done some of whose files are gone.

        Raises:
            UserError: If they are, or the directory has been moved or removed.
        """
        self.check_in_place()
        table = self.path / "progress.csv"
        missing = [file.name for file in (self.config_file, table) if not file.exists()]
        if missing or not self.checkpoints():
            raise UserError(f"{', '.join(missing) or 'checkpoints'} of {str(self.path)!r} vanished during the run")

    def update(self, config: Settings) -> None:
        """Write down the settings that a resumed run has changed, such as more iterations, and today's versions."""
        record = json.loads(self.config_file.read_text())
        record |= {"config": as_dict(config), "versions": versions(), "random_numbers": RANDOM_NUMBERS}
        checkpoint.write_json(self.config_file, record)

    def sweep(self) -> None:
        """Remove what a run that was killed had not finished writing."""
        for folder in (self.path, self.path / "checkpoints"):
            for file in folder.glob(f".*{checkpoint.UNFINISHED}"):
                file.unlink()

    def missing_rows(self, iteration: int, log_every: int) -> list[str]:
        """Return, in words, what the table lacks of a run that goes on from an iteration."""
        table = self.path / "progress.csv"
        if not table.exists():
            return ["progress.csv is gone, and begins anew"]
        last = max((row.get("time/iterations", 0) for row in read_rows(table)), default=0)
        return [f"progress.csv lacks what came after iteration {last:.0f}"] if iteration - last >= log_every else []

    def refuse_strangers(self) -> None:
        """Refuse to go on where another run's checkpoints lie among this one's, which would be replaced.

        Raises:
            UserError: If there are any.
        """
        run = self.run
        for path in self.checkpoints():
            if (other := checkpoint.run_of(path)) is not None and other != run:
                raise UserError(f"checkpoint {str(path)!r} is of another run; move it elsewhere to go on")

    def save(self, state: Checkpoint, keep: int) -> None:
        """Save the newest checkpoint and remove those of this run beyond the `keep` newest.

        Raises:
            UserError: If it cannot be written; the one before stays.
        """
        run = self.run
        name = f"iteration-{state.state['iteration']:06d}.safetensors"
        try:
            self._write(dataclasses.replace(state, run=run), self.path / "checkpoints" / name)
        except UserError as error:
            stands = "".join(f"; {path.name} stands, --resume goes on from it" for path in self.checkpoints()[-1:])
            raise UserError(f"{error}{stands}") from error
        for old in [path for path in self.checkpoints() if checkpoint.run_of(path) == run][:-keep]:
            old.unlink()

    def save_best(self, state: Checkpoint) -> None:
        """Save the best checkpoint.

        Raises:
            UserError: If it cannot be written; the one before stays.
        """
        self._write(dataclasses.replace(state, run=self.run), self.best)

    def _write(self, state: Checkpoint, path: Path) -> None:
        self.check_in_place()
        checkpoint.save(state, path)

    def write_curve(self, curve: dict[str, Any]) -> None:
        """Write the last evaluation."""
        self.check_in_place()
        checkpoint.write_json(self.curve_file, curve)


def _is_record(found: dict[str, Any]) -> bool:
    """Return whether this is what `create` writes."""
    return isinstance(found.get("config"), dict) and {"seed", "versions"} <= found.keys()
