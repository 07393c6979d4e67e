"""The log of a run: what the loop and the evaluations say, to TensorBoard, the table and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress

from stable_baselines3.common.logger import KVWriter

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment.callbacks import Callback
from metarl.experiment.directory import RunDirectory
from metarl.experiment.outputs import TENSORBOARD_ONLY, make_logger
from metarl.experiment.signals import quiet_writer, writing
from metarl.experiment.tensorboard import curve_figure, histograms, log_start
from metarl.experiment.terminal import Terminal
from metarl.experiment.trainer import Trainer


class Log(Callback):
    """Writes scalars everywhere, pictures and histograms to TensorBoard, and the newest curve to `curve.json`.

    Args:
        directory: Run directory; None writes no files.
        outputs: Where else the scalars go.
    """

    def __init__(self, directory: RunDirectory | None, outputs: Sequence[KVWriter]) -> None:
        self.directory, self.outputs = directory, outputs
        self.what = f"the logs in {str(directory and directory.path)!r}"

    def on_start(self, trainer: Trainer) -> None:
        """Open the logs; those of a new run begin with its settings."""
        self.trainer, self.pending = trainer, False
        c, progress = trainer.config, trainer.progress
        with ExitStack() as stack, writing(self.what):
            stack.enter_context(quiet_writer())
            self.logger = make_logger(self.directory and self.directory.path, progress.env_steps, self.outputs)
            stack.callback(self.logger.close)
            if self.directory is not None and not progress.iteration:
                last_phase = c.method.inner_steps + c.method.plays_query - 1
                log_start(self.logger, self.directory.record(c), trainer.inner_loop.measure, last_phase, c.eval_steps)
            for output in self.outputs:
                if isinstance(output, Terminal):
                    output.start()
            self.stack = stack.pop_all()  # until `on_end`

    def on_evaluation(self, curve: AdaptationCurve) -> None:
        """Log the curve; the iteration it belongs to is written whatever `log_every` says."""
        self.pending, record, trainer = True, self.logger.record, self.trainer
        for step, value in zip(curve.steps, curve.mean, strict=True):
            record(f"eval/{curve.measure}_step{step}", float(value))
        if curve.success is not None:
            for step, value in zip(curve.steps, curve.success.mean(0), strict=True):
                record(f"eval/success_step{step}", float(value))
        if trainer.config.on_nan == "drop":
            record("eval/dropped_tasks", curve.dropped)
        if self.directory is None:
            return
        record("pictures/adaptation_curve", curve_figure(curve), TENSORBOARD_ONLY)
        for name, values in histograms(trainer.params, curve.change).items():
            record(name, values, TENSORBOARD_ONLY)
        self.directory.write_curve({"iteration": trainer.progress.iteration, **curve.as_dict()})

    def on_iteration(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """Log the metrics, and write where it is time to.

        Raises:
            UserError: If the directory has been moved or removed.
        """
        if self.directory is not None:
            self.directory.check_in_place()
        for name, value in metrics.items():
            try:
                self.logger.record(name, value if type(value) is int else float(value))
            except (TypeError, ValueError) as error:
                raise UserError(f"metric {name!r} must be a number, got {value!r}") from error
        if trainer.workers.dropped:
            self.logger.record("train/dropped", _dropped(trainer), TENSORBOARD_ONLY)
        if self.pending or trainer.progress.iteration % trainer.config.log_every == 0:
            self._dump()
        else:
            self.written = False

    def _dump(self) -> None:
        try:
            with writing(self.what):
                self.logger.dump(self.trainer.progress.env_steps)
                self.pending, self.written = False, True
        except UserError:
            if self.directory is not None:
                self.directory.check_in_place()
            raise

    def on_end(self, trainer: Trainer) -> None:
        """Write what is left, and close the logs."""
        lost = self.directory is not None and self.directory.lost
        with suppress(UserError) if lost else nullcontext():  # TensorBoard's file is not where it was; that was told
            try:
                if not getattr(self, "written", True):
                    self._dump()
            finally:
                with writing(self.what):
                    self.stack.close()  # the logger too


def _dropped(trainer: Trainer) -> str:
    """Say which tasks were left out, and why."""
    dropped = trainer.workers.dropped
    faults = "; ".join(fault.of(task) for task, fault in sorted(dropped.items()))
    return f"iteration {trainer.progress.iteration} without {len(dropped)} of its tasks: {faults}"
