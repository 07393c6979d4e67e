"""A run: the loop, and what goes on around it, in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from stable_baselines3.common.logger import KVWriter

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment.callbacks import Callbacks, KeepBest, SaveCheckpoints, StopOnSignal
from metarl.experiment.config_file import differences
from metarl.experiment.directory import RunDirectory
from metarl.experiment.film import Film
from metarl.experiment.log import Log
from metarl.experiment.trainer import Trainer
from metarl.methods import method_name


def loop(trainer: Trainer, iterations: int, budget: float, callbacks: Callbacks) -> AdaptationCurve | None:
    """Meta-train until `iterations` are done, `budget` environment steps taken, or a callback says stop."""
    progress, curve = trainer.progress, None
    done = progress.iteration >= iterations or progress.env_steps >= budget
    while not done:
        metrics = trainer.iterate()
        done = progress.iteration >= iterations or progress.env_steps >= budget
        if done or progress.iteration % trainer.config.eval_every == 0:
            curve = trainer.evaluate()
            callbacks.on_evaluation(curve)
        done = not callbacks.on_iteration(trainer, metrics) or done
    return curve


def train(
    trainer: Trainer,
    iterations: int,
    directory: RunDirectory | None = None,
    outputs: Sequence[KVWriter] = (),
    budget: float = math.inf,
    callbacks: Sequence[Any] = (),
) -> AdaptationCurve | None:
    """Train until `iterations` meta-iterations are done or `budget` environment steps taken.

    SIGINT and SIGTERM end the run after the iteration in progress, with a checkpoint saved; a second
    SIGINT ends it at once. An error keeps the meta-params of the last good iteration.

    Args:
        trainer: The training, new or resumed.
        iterations: Where to stop, counted from the run's very beginning.
        directory: Where to write; None writes nothing.
        outputs: Where the logs go beside the directory's files: the terminal, say.
        budget: Environment steps after which to stop, counted from the run's very beginning.
        callbacks: The user's own, called before ours.

    Returns:
        The last held-out adaptation curve, or None if nothing was left to do.

    Raises:
        Interrupted: If a signal ended the run early.
    """
    trainer.check()
    log = Log(directory, outputs)
    stop, ours = StopOnSignal(), [log, Film(log), KeepBest(directory), SaveCheckpoints(directory)]
    with nullcontext() if directory is None else directory.held():
        with Callbacks([stop, *callbacks, *ours, stop.last()]).around(trainer) as every:
            curve = loop(trainer, iterations, budget, every)
        if directory is not None:
            directory.check_whole()
    stop.tell()
    return curve


def resume(trainer: Trainer, directory: RunDirectory, method: Any = None) -> list[str]:
    """Continue the run in a directory.

    Args:
        trainer: The training, with the run's settings.
        directory: The run directory.
        method: The method's class, where it is not one of ours.

    Returns:
        What the user should know: checkpoints that were damaged and passed over, versions that differ.

    Raises:
        UserError: If there is nothing to resume or its configuration differs; names the differences.
    """
    if directory.empty or (directory.holds_run and not directory.begun):  # stopped before its first checkpoint
        trainer.check()
        directory.create(trainer.config)
        return [f"nothing was saved in {directory.path} yet; the run begins now"]
    begun = directory.config(method)
    old, new = method_name(begun.method), method_name(trainer.config.method)
    if old != new:
        raise UserError(f"cannot resume {directory.path}: it is a run of {old}, not of {new}")
    changed = differences(begun, trainer.config)
    if changed:
        older = directory.other_version
        why = f"; metarl {older} trained it, whose defaults may be others: give these settings" if older else ""
        raise UserError(f"cannot resume {directory.path}: its settings differ: {', '.join(changed)}{why}")
    with directory.held():
        directory.refuse_strangers()
        directory.sweep()
        saved, problems = directory.newest()
        trainer.restore(saved)
        notes = directory.changes(trainer.config)
        if trainer.progress.iteration < trainer.config.iterations:
            directory.update(trainer.config)
    problems += directory.missing_rows(trainer.progress.iteration, begun.log_every)
    return [*(f"{problem}; going on from iteration {trainer.progress.iteration}" for problem in problems), *notes]
