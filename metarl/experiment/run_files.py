"""The files of one run, as they are read."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from metarl.errors import UserError, few
from metarl.experiment import checkpoint
from metarl.experiment.base_config import Settings
from metarl.experiment.checkpoint import Checkpoint, DamagedCheckpoint
from metarl.experiment.config_file import differences, from_dict, unrecorded
from metarl.experiment.outputs import read_rows
from metarl.experiment.own_files import own_files
from metarl.experiment.versions import compare, other_version

FORMAT = 1
"""Version of `config.json`; a newer one is refused, older ones are read."""


class RunFiles:
    """The files of one run.

    `config.json`, `progress.csv`, TensorBoard's events, `curve.json` (the last evaluation), `checkpoints/`
    and `best.safetensors`.

    Args:
        path: The run directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()  # an environment may change the current folder

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
        """Whether there is no folder, or one with nothing of a run in it."""
        return not self.path.exists() or (self.path.is_dir() and not own_files(self.path))

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
                inside = sorted(str(file.parent) for file in self.path.glob("*/config.json"))
                there = f"; there are runs in it: {few(inside)}" if inside else ""
                raise UserError(f"{str(self.path)!r} holds no run (no config.json){there}")
            self.refuse_links()
            for needed in (self.config_file, self.path / "checkpoints"):
                if needed.exists() and not os.access(needed, os.R_OK):  # glob would find nothing, without a word
                    raise UserError(f"{str(needed)!r} cannot be read: {os.strerror(errno.EACCES)}")
        except OSError as error:
            raise UserError(f"{str(self.path)!r} cannot be read: {error.strerror}") from error

    def refuse_links(self) -> None:
        """Refuse what would make us read or write somewhere else than in this directory."""
        for entry in (*self.path.iterdir(), *(self.path / "checkpoints").glob("*")):
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise UserError(f"{str(entry)!r} is a link or a device; a run directory holds files and folders only")

    @property
    def other_version(self) -> str | None:
        """The version of metarl that the run was last trained with, if it is not this one."""
        return other_version(self.recorded())

    def changed_defaults(self, config: Settings, now: Settings) -> list[str]:
        """Return, in a sentence, what is the default of another version in a run that another version trained.

        Args:
            config: The run's configuration.
            now: What the command that began it gives today.
        """
        older = self.other_version
        changed = differences(config, now) if older else []
        note = f"settings have changed since metarl {older}, and the run keeps its own: {', '.join(changed)}"
        return [note] if changed else []

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

    def changes(self, config: Settings) -> list[str]:
        """Return in what this installation differs from the one that the run was last trained with.

        Args:
            config: The run's configuration, as this installation reads it.
        """
        record = self.recorded()
        new = unrecorded(record["config"], config)
        note = f"the run is of a version without {', '.join(new)}, the defaults of this one"
        return [*compare(record), *([note] if new else [])]

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints kept, oldest first."""
        found = (self.path / "checkpoints").glob("iteration-*.safetensors")
        return sorted(found, key=lambda file: (len(file.name), file.name))  # more digits after a million

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
