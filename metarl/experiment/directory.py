"""The files of one run."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metarl.errors import UserError
from metarl.experiment import checkpoint
from metarl.experiment.base_config import Settings
from metarl.experiment.checkpoint import Checkpoint, DamagedCheckpoint
from metarl.experiment.config_file import as_dict, from_dict
from metarl.experiment.lock import Hold
from metarl.experiment.outputs import read_rows
from metarl.experiment.own_files import own_files
from metarl.experiment.versions import compare, git_commit, versions
from metarl.seeding import RANDOM_NUMBERS

FORMAT = 1
"""Version of `config.json`; a newer one is refused, older ones are read."""


class RunDirectory:
    """The files of one run.

    `config.json`, `progress.csv`, TensorBoard's events, `curve.json` (the last evaluation), `checkpoints/`
    and `best.safetensors`. While a process trains, it holds a lock (`run.lock`).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()  # an environment may change the current folder
        self.lost = False  # whether it was found moved or removed
        self._hold: Hold | None = None
        self._left: tuple[str | None, list[str]] | None = None

    @property
    def config_file(self) -> Path:
        """Settings, versions and the run's name."""
        return self.path / "config.json"

    @property
    def curve_file(self) -> Path:
        """The last evaluation."""
        return self.path / "curve.json"

    @property
    def best(self) -> Path:
        """The checkpoint that was best on held-out tasks."""
        return self.path / "best.safetensors"

    @property
    def holds_run(self) -> bool:
        """Whether a run has been started here."""
        return self.config_file.exists()

    @property
    def begun(self) -> bool:
        """Whether anything of the run here is worth keeping: one that was stopped before its first checkpoint is not.

        Raises:
            UserError: If its table is damaged.
        """
        return self.best.exists() or bool(self.checkpoints()) or bool(read_rows(self.path / "progress.csv"))

    @property
    def empty(self) -> bool:
        """Whether there is a folder with nothing of a run in it."""
        return self.path.is_dir() and not own_files(self.path)

    @property
    def run(self) -> str | None:
        """The run's name, which its checkpoints bear; None where there is none or an older version began it."""
        name = self.recorded().get("run")
        return name if isinstance(name, str) else None

    def recorded(self) -> dict[str, Any]:
        """Return what `config.json` holds; nothing if it cannot be read."""
        try:
            found = json.loads(self.config_file.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def check_readable(self) -> None:
        """Refuse a run whose `config.json` says nothing; without it nobody knows which checkpoints are the run's.

        Raises:
            UserError: If it says nothing.
        """
        if not self.recorded():
            raise UserError(f"{str(self.config_file)!r} is damaged")

    def check_holds_run(self) -> None:
        """Refuse a directory without a run, or with links.

        Raises:
            UserError: If it is one, or it may not be read.
        """
        try:
            if not self.holds_run:
                raise UserError(f"{str(self.path)!r} holds no run (no config.json)")
            self._refuse_links()
            for needed in (self.config_file, self.path / "checkpoints"):
                if needed.exists() and not os.access(needed, os.R_OK):  # glob would find nothing, without a word
                    raise UserError(f"{str(needed)!r} cannot be read: {os.strerror(errno.EACCES)}")
        except OSError as error:
            raise UserError(f"{str(self.path)!r} cannot be read: {error.strerror}") from error

    def create(self, config: Settings) -> None:
        """Begin a run: write its configuration, versions, seed and where the code stood.

        A run that was stopped before its first checkpoint begins anew.

        Raises:
            UserError: If a run is here already, or files that bear the names of ours, or the directory cannot be
                written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_links()
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
            "command": sys.argv,
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
            names = ", ".join(found[:3]) + ", ..." * (len(found) > 3)
            raise UserError(f"{str(self.path)!r} holds {names}, but no run of metarl; choose another --log-dir")
        if found and self.begun:
            raise UserError(f"{self.path} already holds a run; resume it with --resume or choose another --log-dir")

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

    def changes(self) -> list[str]:
        """Return in what this installation differs from the one that the run was last trained with."""
        return compare(self.recorded())

    def config(self, method: Any = None) -> Settings:
        """Read the run's configuration.

        Args:
            method: The method's class, where it is not one of ours.

        Raises:
            UserError: If there is no run here, it is damaged, or it holds links.
        """
        self.check_holds_run()
        try:
            record = json.loads(self.config_file.read_text())
            number = record.get("format", FORMAT)
            if isinstance(number, int) and number > FORMAT:
                raise UserError(f"format {number} is newer than this version of metarl, which reads up to {FORMAT}")
            return from_dict(record["config"], method)
        except UserError as error:
            raise UserError(f"{str(self.config_file)!r}: {error}") from error
        except OSError as error:
            raise UserError(f"{str(self.config_file)!r} cannot be read: {error.strerror}") from error
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{str(self.config_file)!r} is damaged ({error!r})") from error

    def method_name(self) -> str | None:
        """Return the name of the run's method, if its configuration can be read."""
        try:
            return str(self.recorded()["config"]["method"]["name"])
        except (KeyError, TypeError):
            return None

    def _refuse_links(self) -> None:
        """Refuse what would make us read or write somewhere else than in this directory."""
        for entry in (*self.path.iterdir(), *(self.path / "checkpoints").glob("*")):
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise UserError(f"{str(entry)!r} is a link or a device; a run directory holds files and folders only")

    def sweep(self) -> None:
        """Remove what a run that was killed had not finished writing."""
        for folder in (self.path, self.path / "checkpoints"):
            for file in folder.glob(f".*{checkpoint.UNFINISHED}"):
                file.unlink()

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints kept, oldest first."""
        found = (self.path / "checkpoints").glob("iteration-*.safetensors")
        return sorted(found, key=lambda file: (len(file.name), file.name))  # more digits after a million

    def load_best(self) -> tuple[Checkpoint, list[str]]:
        """Return the best checkpoint, or the newest if there is none or it is damaged, and what was wrong.

        Raises:
            UserError: If there is none at all.
        """
        if not self.best.exists():
            return self.newest()
        try:
            return self._load(self.best), []
        except DamagedCheckpoint as error:
            saved, problems = self.newest()
            return saved, [str(error), *problems]

    def _load(self, path: Path) -> Checkpoint:
        """Read a checkpoint of this run."""
        saved = checkpoint.load(path)
        if saved.run != self.run:
            raise DamagedCheckpoint(f"checkpoint {str(path)!r} is of another run")
        return saved

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

    def newest(self) -> tuple[Checkpoint, list[str]]:
        """Return the newest checkpoint that is whole, and what was wrong with newer ones.

        Raises:
            UserError: If there is none.
        """
        problems: list[str] = []
        for path in reversed(self.checkpoints()):
            try:
                return self._load(path), problems
            except DamagedCheckpoint as error:
                problems.append(str(error))
        raise UserError(f"{str(self.path)!r} holds no checkpoint to go on from" + "".join(f"; {p}" for p in problems))


def _is_record(found: dict[str, Any]) -> bool:
    """Return whether this is what `create` writes."""
    return isinstance(found.get("config"), dict) and {"seed", "versions"} <= found.keys()
