"""What every meta-learner can do: learn and save."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from metarl.errors import UserError
from metarl.experiment import checkpoint
from metarl.experiment.config import Config, FewShotConfig
from metarl.experiment.logging import Terminal
from metarl.experiment.run import RunDirectory, snapshot, train
from metarl.experiment.training import Trainer
from metarl.rl.make import EnvSource


class Learned:
    """A meta-learner and its run."""

    trainer: Trainer

    def _begin(
        self, config: Config | FewShotConfig, source: EnvSource | None, log_dir: str | Path | None, verbose: bool
    ) -> None:
        self.trainer = Trainer(config, source)
        self.verbose = verbose
        self.directory = None if log_dir is None else RunDirectory(log_dir)
        if self.directory is not None:
            try:
                self.trainer.check()
                self.directory.create(config)
            except BaseException:
                self.trainer.close()
                raise

    def learn(self, iterations: int) -> Self:
        """Train for this many further meta-iterations.

        Raises:
            UserError: If `iterations` is less than 1.
            Interrupted: If a signal ended the run early; everything is saved.
        """
        if iterations < 1:
            raise UserError(f"iterations must be at least 1, got {iterations}")
        total = self.trainer.iteration + iterations
        terminal = Terminal(total, self.trainer.config.title) if self.verbose else None
        train(self.trainer, total, self.directory, terminal)
        return self

    def save(self, path: str | Path) -> None:
        """Write the model to one file that `metarl.load` reads."""
        path = Path(path)
        checkpoint.save(snapshot(self.trainer), path if path.suffix else path.with_suffix(".safetensors"))

    def close(self) -> None:
        """Close the environments."""
        self.trainer.close()
