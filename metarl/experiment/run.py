"""The loop of a run: iterate, evaluate, log, save, and end well whatever happens."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from stable_baselines3.common.logger import Logger

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment import checkpoint
from metarl.experiment.checkpoint import Checkpoint, DamagedCheckpoint
from metarl.experiment.config import Config, FewShotConfig, differences
from metarl.experiment.film import EvaluationFilm
from metarl.experiment.logging import TENSORBOARD_ONLY, Terminal, curve_figure, log_settings, make_logger
from metarl.experiment.outside import Interrupted, full_disk, quiet_writer, signals
from metarl.experiment.training import Trainer

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
        record = {
            "config": config.as_dict(),
            "seed": config.seed,
            "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "git_commit": _git_commit(),
            "command": sys.argv,
        }
        checkpoint.write_json(self.config_file, record)

    def update(self, config: Config | FewShotConfig) -> None:
        """Write down the settings that a resumed run has changed, such as more iterations."""
        record = json.loads(self.config_file.read_text()) | {"config": config.as_dict()}
        checkpoint.write_json(self.config_file, record)

    def config(self) -> Config | FewShotConfig:
        """Read the run's configuration.

        Raises:
            UserError: If there is no run here, it is damaged, or it holds links.
        """
        if not self.holds_run:
            raise UserError(f"{str(self.path)!r} holds no run (no config.json)")
        self._refuse_links()
        try:
            return Config.from_dict(json.loads(self.config_file.read_text())["config"])
        except UserError as error:
            raise UserError(f"{str(self.config_file)!r}: {error}") from error
        except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
            raise UserError(f"{str(self.config_file)!r} is damaged ({error!r})") from error

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


COUNTS = ("iteration", "env_steps", "seconds", "dropped_tasks")
"""What a run counts from its very beginning."""


def snapshot(trainer: Trainer) -> Checkpoint:
    """Return where the training stands."""
    state = {name: getattr(trainer, name) for name in COUNTS}
    best = trainer.best_return
    state["best_return"] = None if best == float("-inf") else best
    return Checkpoint(trainer.params, trainer.config.as_dict(), state, trainer.outer_state)


def restore(trainer: Trainer, saved: Checkpoint) -> None:
    """Put the training where a checkpoint stands.

    Raises:
        UserError: If the network has other shapes, or the checkpoint does not say where the run stood.
    """
    shapes = {name: tuple(value.shape) for name, value in trainer.params.items()}
    found = {name: tuple(value.shape) for name, value in saved.params.items()}
    if list(shapes.items()) != list(found.items()):  # flat vectors depend on the order too
        raise UserError(f"the checkpoint's network {found} is not this run's {shapes}")
    try:
        counts = {name: type(getattr(trainer, name))(saved.state.get(name, 0)) for name in COUNTS}
        best = saved.state["best_return"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the checkpoint does not say where the run stood ({error!r})") from error
    trainer.params, trainer.outer_state = saved.params, saved.outer
    for name, count in counts.items():
        setattr(trainer, name, count)
    trainer.best_return = float("-inf") if best is None else best


def resume(trainer: Trainer, directory: RunDirectory) -> list[str]:
    """Continue the run in a directory.

    Returns:
        What the user should know: checkpoints that were damaged and passed over.

    Raises:
        UserError: If there is nothing to resume or its configuration differs; names the differences.
    """
    changed = differences(directory.config(), trainer.config)
    if changed:
        raise UserError(f"cannot resume {directory.path}: its settings differ: {', '.join(changed)}")
    directory.sweep()
    saved, problems = directory.newest()
    restore(trainer, saved)
    directory.update(trainer.config)
    return [f"{problem}; going on from iteration {trainer.iteration}" for problem in problems]


def train(
    trainer: Trainer,
    iterations: int,
    directory: RunDirectory | None = None,
    terminal: Terminal | None = None,
    budget: float = math.inf,
) -> AdaptationCurve | None:
    """Train until `iterations` meta-iterations are done or `budget` environment steps taken.

    SIGINT and SIGTERM end the run after the iteration in progress, with a checkpoint saved; a second
    SIGINT ends it at once. An error keeps the meta-params of the last good iteration.

    Args:
        trainer: The training, new or resumed.
        iterations: Where to stop, counted from the run's very beginning.
        directory: Where to write; None writes nothing.
        terminal: What shows the progress, if anything.
        budget: Environment steps after which to stop, counted from the run's very beginning.

    Returns:
        The last held-out adaptation curve, or None if nothing was left to do.

    Raises:
        Interrupted: If a signal ended the run early.
    """
    trainer.check()
    c = trainer.config
    curve: AdaptationCurve | None = None
    film = EvaluationFilm(trainer)
    logs = f"the logs in {str(directory and directory.path)!r}"
    with full_disk(logs):
        logger = _open_logger(trainer, directory, terminal)
    whole, saved_at = snapshot(trainer), trainer.iteration  # the last iteration done, evaluated and logged
    if directory is not None and not directory.checkpoints():
        directory.save(whole, c.keep_checkpoints)
    try:
        with signals() as caught, quiet_writer():
            done = trainer.iteration >= iterations or trainer.env_steps >= budget
            while not done:
                for name, value in trainer.iterate().items():
                    logger.record(name, value)
                if trainer.workers.dropped:
                    logger.record("train/dropped", _dropped(trainer), TENSORBOARD_ONLY)
                done = trainer.iteration >= iterations or trainer.env_steps >= budget
                if trainer.iteration % c.eval_every == 0 or done:
                    curve = _evaluate(trainer, logger, film, directory)
                if trainer.iteration % c.eval_every == 0 or trainer.iteration % c.log_every == 0 or done:
                    with full_disk(logs):
                        logger.dump(trainer.env_steps)
                whole = snapshot(trainer)
                if directory is not None and (trainer.iteration % c.checkpoint_every == 0 or done or caught):
                    directory.save(whole, c.keep_checkpoints)
                    saved_at = trainer.iteration
                if caught:
                    raise Interrupted(caught[0])
    finally:
        try:
            if directory is not None and whole.state["iteration"] > saved_at:
                directory.save(whole, c.keep_checkpoints)
        finally:
            with full_disk(logs):
                logger.close()
    return curve


def _open_logger(trainer: Trainer, directory: RunDirectory | None, terminal: Terminal | None) -> Logger:
    """Open the logs; those of a new run begin with its settings."""
    c = trainer.config
    logger = make_logger(directory and directory.path, trainer.env_steps, terminal)
    if directory is not None and not trainer.iteration:
        last_phase = c.learner.inner_steps + c.learner.plays_query - 1
        log_settings(logger, c.as_dict(), trainer.player.measures, last_phase, c.eval_steps)
    return logger


def _evaluate(
    trainer: Trainer, logger: Logger, film: EvaluationFilm, directory: RunDirectory | None
) -> AdaptationCurve:
    """Evaluate on held-out tasks, log it, and keep the params if they are the best so far."""
    curve = trainer.evaluate()
    _log_evaluation(logger, trainer, curve, directory)
    film.log(logger)
    _keep_best(trainer, curve, directory)
    return curve


def _dropped(trainer: Trainer) -> str:
    """Say which tasks were left out, and why."""
    faults = "; ".join(fault.of(task) for task, fault in sorted(trainer.workers.dropped.items()))
    return f"iteration {trainer.iteration} without {len(trainer.workers.dropped)} of its tasks: {faults}"


def _log_evaluation(logger: Logger, trainer: Trainer, curve: AdaptationCurve, directory: RunDirectory | None) -> None:
    """Log an evaluation: scalars everywhere, picture and histograms in TensorBoard, the curve in `curve.json`."""
    for step, value in zip(curve.steps, curve.mean, strict=True):
        logger.record(f"eval/{curve.measure}_step{step}", float(value))
    if trainer.config.on_nan == "drop":
        logger.record("eval/dropped_tasks", curve.dropped)
    if directory is None:
        return
    logger.record("eval/adaptation_curve", curve_figure(curve), TENSORBOARD_ONLY)
    for name, value in trainer.params.items():
        logger.record(f"params/{name}", value.detach(), TENSORBOARD_ONLY)
    for name, change in curve.change.items():
        logger.record(f"adaptation/{name}", torch.from_numpy(change), TENSORBOARD_ONLY)
    record = {"iteration": trainer.iteration, **curve.as_dict()}
    checkpoint.write_json(directory.curve_file, record)


def _keep_best(trainer: Trainer, curve: AdaptationCurve, directory: RunDirectory | None) -> None:
    """Keep the params that are best on held-out tasks after as many steps as training takes."""
    reached = curve.reached(trainer.config.learner.inner_steps)
    if reached > trainer.best_return:
        trainer.best_return = reached
        if directory is not None:
            checkpoint.save(snapshot(trainer), directory.best)


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
