"""What every meta-learner can do: learn and save."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, Self

from stable_baselines3.common.logger import KVWriter

from metarl.errors import UserError, check_counts, warn
from metarl.experiment import checkpoint
from metarl.experiment.config_file import from_dict
from metarl.experiment.directory import RunDirectory
from metarl.experiment.own_files import check_output
from metarl.experiment.parts import Parts
from metarl.experiment.run import resume, train
from metarl.experiment.terminal import Terminal
from metarl.experiment.trainer import AnyInnerLoop, AnySettings, Trainer
from metarl.methods import method_name


class MetaLearner(Generic[AnySettings, AnyInnerLoop]):
    """A meta-learner and its run."""

    trainer: Trainer[AnySettings, AnyInnerLoop]

    def _begin(
        self,
        config: AnySettings,
        parts: Parts,
        log_dir: str | Path | None = None,
        verbose: bool = False,
        going_on: bool = False,
    ) -> None:
        if going_on and log_dir is None:
            raise UserError("resume=True needs a log_dir, the run directory to go on with")
        self.trainer, self.verbose = Trainer(config, parts), verbose
        self.directory = None if log_dir is None else RunDirectory(log_dir)
        self._process = os.getpid()
        self._behind = False
        if self.directory is None:
            return
        try:
            if going_on:
                self._resume(self.directory)
            else:
                self.trainer.check()
                self.directory.create(config)
        except BaseException:
            self.trainer.close()
            raise

    @property
    def config(self) -> AnySettings:
        """The run's configuration."""
        return self.trainer.config

    def _resume(self, directory: RunDirectory) -> None:
        """Go on with the run in a directory; warn of what the user should know, such as a damaged checkpoint."""
        for note in resume(self.trainer, directory, self.config.method):
            warn(note)

    def of_run(self, directory: RunDirectory | None) -> None:
        """Belong to the run in a directory, which `learn` will go on with."""
        self.directory, self._behind = directory, directory is not None

    def __repr__(self) -> str:
        """Say what it is, how large, and where it stands."""
        c, progress = self.trainer.config, self.trainer.progress
        size = sum(value.numel() for value in self.trainer.params.values())
        stands = f"{progress.iteration} iterations, {progress.env_steps:,} steps"
        return f"<{type(self).__name__} {method_name(c.method)} on {c.title}: {size:,} params, {stands}>"

    def learn(self, iterations: int | None = None, callbacks: Any = (), outputs: Sequence[KVWriter] = ()) -> Self:
        """Train for this many further meta-iterations; a model of a run directory goes on with that run.

        Args:
            iterations: How many; by default those that are left of as many as the settings say.
            callbacks: An object with some of the methods of `metarl.Callback`, or several.
            outputs: Where the logged numbers go beside the run directory: any `KVWriter` of stable-baselines3.

        Raises:
            UserError: If `iterations` is less than 1 or a callback has none of the methods.
            Interrupted: If a signal ended the run early; everything is saved.
        """
        if iterations is None:
            iterations = self.config.iterations - self.trainer.progress.iteration
            if iterations < 1:
                raise UserError(f"all {self.config.iterations} iterations of the settings are done; say how many more")
        check_counts(iterations=(iterations, 1))
        if self._behind and self.directory is not None:  # loaded from the best checkpoint, say
            self._resume(self.directory)
            self._behind = False
        if os.getpid() != self._process:  # threads of torch and of the physics stay behind in a fork
            raise UserError("this model was made in another process; pickle it, or save and load it, to train it here")
        total = self.trainer.progress.iteration + iterations
        terminal = [Terminal(total, self.trainer.config.title)] if self.verbose else []
        several = list(callbacks) if isinstance(callbacks, Iterable) else [] if callbacks is None else [callbacks]
        train(self.trainer, total, self.directory, [*terminal, *outputs], callbacks=several)
        return self

    @classmethod
    def load(cls, path: str | Path, **given: Any) -> Self:
        """Load a model of this class; see `metarl.load`.

        Raises:
            UserError: As `metarl.load`, and if the model is of another class.
        """
        from metarl.models.load import load

        model = load(path, **given)
        if not isinstance(model, cls):
            model.close()
            raise UserError(f"{str(path)!r} holds a {type(model).__name__}, not a {cls.__name__}")
        return model

    def save(self, path: str | Path) -> None:
        """Write the model to one file that `metarl.load` reads.

        Raises:
            UserError: If the file cannot be written, or is one of a run's own.
        """
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".safetensors")
        check_output(path)
        checkpoint.save(self.trainer.snapshot(), path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle, and copy, as the file that `save` writes and the objects that it was given.

        The copy writes nowhere: it does not belong to the run directory.
        """
        saved = checkpoint.encode(self.trainer.snapshot())
        return _rebuilt, (type(self), saved, self.trainer.parts, self.trainer.config.method, self.verbose)

    def close(self) -> None:
        """Close the environments."""
        self.trainer.close()


def _rebuilt(kind: type[MetaLearner], data: bytes, parts: Parts, method: Any, verbose: bool) -> MetaLearner:
    """Return the model that was pickled or copied."""
    saved = checkpoint.decode(data, "the model")
    model = kind.__new__(kind)
    model._begin(from_dict(saved.config, method), parts, verbose=verbose)
    model.trainer.restore(saved)
    return model
