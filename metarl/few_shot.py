"""A meta-learner for supervised tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core import params as P
from metarl.core.params import Params
from metarl.errors import UserError
from metarl.experiment.config import FewShotConfig
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.shots import Batch
from metarl.learned import Learned
from metarl.supervised import ShotPlayer


class AdaptedNetwork:
    """A network for one task.

    Args:
        problem: What runs the network.
        params: Its params for this task, `[1, ...]`.
    """

    def __init__(self, problem: Regression | Classification, params: Params) -> None:
        self.problem, self.params = problem, params

    def predict(self, x: Any) -> NDArray[np.float32]:
        """Return the predictions `[N, o]` of inputs `[N, ...]`; in classification the classes' log-probabilities.

        A conv network normalises by the batch: its answers depend on which pictures are asked about together.
        """
        inputs = _tensor(x)[None]
        with torch.no_grad():
            return self.problem.outputs(self.params, Batch(inputs, inputs)).values[0].numpy()


class FewShot(Learned):
    """A meta-learner for supervised tasks.

    Args:
        config: The run's configuration, a preset's for instance.
        log_dir: Run directory (TensorBoard, CSV, checkpoints); None writes nothing.
        verbose: Whether to show progress on the terminal.

    Raises:
        UserError: If the run directory holds a run already.
    """

    def __init__(self, config: FewShotConfig, *, log_dir: str | Path | None = None, verbose: bool = False) -> None:
        self._begin(config, None, log_dir, verbose)

    @property
    def config(self) -> FewShotConfig:
        """The run's configuration."""
        return cast(FewShotConfig, self.trainer.config)

    def adapt(self, x: Any, y: Any, steps: int | None = None) -> AdaptedNetwork:
        """Take gradient steps on a few labelled examples and return the network; the model stays as it is.

        Args:
            x: Inputs, `[N, ...]`.
            y: Targets, `[N, o]`; in classification the classes `[N]`.
            steps: Gradient steps; by default as many as in training.

        Raises:
            UserError: If `steps` is negative, x and y are not of one length, or y has another shape.
        """
        steps = self.config.learner.inner_steps if steps is None else steps
        inputs, targets = _tensor(x), _tensor(y)
        if steps < 0:
            raise UserError(f"steps must be 0 or more, got {steps}")
        if len(inputs) != len(targets):
            raise UserError(f"x has {len(inputs)} examples, y {len(targets)}")
        axes = 2 if isinstance(self.trainer.player.problem, Regression) else 1
        if targets.dim() != axes:
            raise UserError(f"y must be {'targets [N, o]' if axes == 2 else 'classes [N]'}, got {list(targets.shape)}")
        player = cast(ShotPlayer, self.trainer.player)
        adapted = P.stack(self.trainer.params, 1)
        support = Batch(inputs[None], targets[None]).to(player.device)
        for step in range(steps):
            adapted = player.step(adapted, support, step)
        return AdaptedNetwork(player.problem, player.problem.own(adapted))


def _tensor(values: Any) -> Tensor:
    """Return the values as a tensor in torch's default precision, or of integers."""
    tensor = torch.as_tensor(values)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor
