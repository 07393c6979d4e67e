"""The files of one run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from metarl.errors import UserError
from metarl.experiment import checkpoint
from metarl.experiment.checkpoint import Checkpoint, DamagedCheckpoint
from metarl.experiment.config import Config, FewShotConfig
from metarl.experiment.config_file import as_dict, from_dict

PACKAGES = ("metarl-toolkit", "torch", "gymnasium", "mujoco", "stable-baselines3", "numpy")


class RunDirectory:
    """The files of one run.

    `config.json`, `progress.csv`, TensorBoard's events, `curve.json` (the last evaluation), `checkpoints/`
    and `best.safetensors`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.curve_file = self.path / "curve.json"
        self.best = self.path / "best.safetensors"

    @property
    def holds_run(self) -> bool:
        """Whether a run has been started here."""
        return self.config_file.exists()

    def check_holds_run(self) -> None:
        """Refuse a directory without a run, or with links.

        Raises:
            UserError: If it is one.
        """
        if not self.holds_run:
            raise UserError(f"{str(self.path)!r} holds no run (no config.json)")
        self._refuse_links()

    def create(self, config: Config | FewShotConfig) -> None:
        """Begin a run: write its configuration, versions, seed and where the code stood.

        Raises:
            UserError: If a run is here already or the directory cannot be written.
        """
        if self.holds_run:
            raise UserError(f"{self.path} already holds a run; resume it with --resume or choose another --log-dir")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_links()
        except OSError as error:
            raise UserError(f"log directory {str(self.path)!r} cannot be written: {error.strerror}") from error
        checkpoint.write_json(self.config_file, self.record(config))

    def record(self, config: Config | FewShotConfig) -> dict[str, Any]:
        """Return what `config.json` records of a run that begins: settings, versions, seed and where the code stood."""
        return {
            "config": as_dict(config),
            "seed": config.seed,
            "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "git_commit": _git_commit(),
            "command": sys.argv,
        }

    def update(self, config: Config | FewShotConfig) -> None:
        """Write down the settings that a resumed run has changed, such as more iterations."""
        record = json.loads(self.config_file.read_text()) | {"config": as_dict(config)}
        checkpoint.write_json(self.config_file, record)

    def config(self, method: Any = None) -> Config | FewShotConfig:
        """Read the run's configuration.

        Args:
            method: The method's class, where it is not one of ours.

        Raises:
            UserError: If there is no run here, it is damaged, or it holds links.
        """
        self.check_holds_run()
        try:
            return from_dict(json.loads(self.config_file.read_text())["config"], method)
        except UserError as error:
            raise UserError(f"{str(self.config_file)!r}: {error}") from error
        except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
            raise UserError(f"{str(self.config_file)!r} is damaged ({error!r})") from error

    def method_name(self) -> str | None:
        """Return the name of the run's method, if its configuration can be read."""
        try:
            return json.loads(self.config_file.read_text())["config"]["method"]["name"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
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
            return checkpoint.load(self.best), []
        except DamagedCheckpoint as error:
            saved, problems = self.newest()
            return saved, [str(error), *problems]

    def save(self, state: Checkpoint, keep: int) -> None:
        """Save the newest checkpoint and remove those beyond the `keep` newest.

        Raises:
            UserError: If it cannot be written; the one before stays.
        """
        name = f"iteration-{state.state['iteration']:06d}.safetensors"
        try:
            checkpoint.save(state, self.path / "checkpoints" / name)
        except UserError as error:
            stands = "".join(f"; {path.name} stands, --resume goes on from it" for path in self.checkpoints()[-1:])
            raise UserError(f"{error}{stands}") from error
        for old in self.checkpoints()[:-keep]:
            old.unlink()

    def newest(self) -> tuple[Checkpoint, list[str]]:
        """Return the newest checkpoint that is whole, and what was wrong with newer ones.

        Raises:
            UserError: If there is none.
        """
        problems: list[str] = []
        for path in reversed(self.checkpoints()):
            try:
                return checkpoint.load(path), problems
            except DamagedCheckpoint as error:
                problems.append(str(error))
        raise UserError(f"{str(self.path)!r} holds no checkpoint to go on from" + "".join(f"; {p}" for p in problems))


def _version(package: str) -> str | None:
    """Return a package's version; None for ourselves where we run from a checkout that is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the code in use, if it lies in a repository."""
    try:
        found = subprocess.run(
            ["git", "-C", os.path.dirname(__file__), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
