"""A meta-method for supervised tasks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.params import Params
from metarl.errors import UserError
from metarl.experiment.config import FewShotConfig
from metarl.experiment.parts import Parts, named
from metarl.experiment.settings import with_method, with_settings
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.own_source import TaskSource, made_source
from metarl.fewshot.shots import Examples
from metarl.methods import SUPERVISED, Method
from metarl.models.base import MetaLearner
from metarl.models.keywords import FewShotKeywords


class AdaptedNetwork:
    """A network for one task.

    Args:
        losses: What runs the network.
        params: Its params for this task, `[1, ...]`.
    """

    def __init__(self, losses: Regression | Classification, params: Params) -> None:
        self.losses, self.params = losses, params

    def predict(self, x: Any) -> NDArray[np.float32]:
        """Return the predictions `[N, o]` of inputs `[N, ...]`; in classification the classes' log-probabilities.

        A conv network normalises by the batch: its answers depend on which pictures are asked about together.
        """
        inputs = _tensor(x)[None]
        with torch.no_grad():
            return self.losses.outputs(self.params, Examples(inputs, inputs)).values[0].numpy()


class FewShot(MetaLearner[FewShotConfig, ShotInnerLoop]):
    """A meta-learner for supervised tasks.

    Args:
        data: The tasks: `sinusoid`, `glyphs`, `omniglot` or `folder`; a class of your own, or an object of it, with
            `sample_tasks(n, rng)` and `examples(task, n, rng)`; or a whole configuration, a preset's say.
        method: The method: a name of ours (`"reptile"`) or an object such as `metarl.methods.Reptile(inner_lr=0.02)`;
            by default MAML with Adam.
        log_dir: Run directory (TensorBoard, CSV, checkpoints); None writes nothing.
        resume: Whether to go on with the run in `log_dir`.
        verbose: Whether to show progress on the terminal.
        **settings: Settings of the run, of the method and of its outer update, by name.

    Raises:
        UserError: If a setting is unknown, of the wrong kind or out of range, the tasks cannot be drawn, or the run
            directory holds a run already.
    """

    def __init__(
        self,
        data: str | FewShotConfig | TaskSource | type[TaskSource],
        *,
        method: str | Method | None = None,
        log_dir: str | Path | None = None,
        resume: bool = False,
        verbose: bool = False,
        **settings: Unpack[FewShotKeywords],
    ) -> None:
        parts = Parts()
        if not isinstance(data, FewShotConfig):
            recorded, own = named("data", data)
            parts = Parts(data=None if own is None else made_source(own))
            # a method that is named has the settings that suit such tasks
            name = method if isinstance(method, str) and method in SUPERVISED else "maml"
            data, chosen = FewShotConfig(data=recorded, method=SUPERVISED["maml"]), SUPERVISED[name]
            data = dataclasses.replace(data, method=chosen, **chosen.suited(data))
        config = with_method(data, method)
        self._begin(with_settings(config, settings), parts, log_dir, verbose, resume)

    def adapt(self, x: Any, y: Any, steps: int | None = None) -> AdaptedNetwork:
        """Take gradient steps on a few labelled examples and return the network; the model stays as it is.

        Args:
            x: Inputs, `[N, ...]`.
            y: Targets, `[N, o]`; in classification the classes `[N]`.
            steps: Gradient steps; by default as many as in training.

        Raises:
            UserError: If `steps` is negative, there are no examples or some are not finite, x and y are not of one
                length, or y has another shape.
        """
        steps = self.config.method.inner_steps if steps is None else steps
        inputs, targets = _tensor(x), _tensor(y)
        if steps < 0:
            raise UserError(f"steps must be 0 or more, got {steps}")
        if not len(inputs):
            raise UserError("there are no examples to adapt to")
        if len(inputs) != len(targets):
            raise UserError(f"x has {len(inputs)} examples, y {len(targets)}")
        axes = 2 if isinstance(self.trainer.inner_loop.losses, Regression) else 1
        if targets.dim() != axes:
            raise UserError(f"y must be {'targets [N, o]' if axes == 2 else 'classes [N]'}, got {list(targets.shape)}")
        if not (inputs.isfinite().all() and targets.isfinite().all()):
            raise UserError("the examples to adapt to must be finite")
        inner_loop = self.trainer.inner_loop
        *_, adapted = inner_loop.adapted(self.trainer.params, Examples(inputs[None], targets[None]), steps)
        return AdaptedNetwork(inner_loop.losses, inner_loop.losses.own(adapted))


def _tensor(values: Any) -> Tensor:
    """Return the values as a tensor in torch's default precision, or of integers."""
    tensor = torch.as_tensor(values)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor
