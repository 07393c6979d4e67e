"""A meta-method for supervised tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.params import Params
from metarl.errors import UserError, check_counts
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.experiment.parts import Parts, named
from metarl.experiment.presets import for_data
from metarl.experiment.settings import with_method, with_settings
from metarl.fewshot.folders import read_picture
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.networks import ConvNet
from metarl.fewshot.own_source import TaskSource, made_source
from metarl.fewshot.shots import Examples, numbers
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

        Raises:
            UserError: If x has another shape than the inputs learned from.
        """
        inputs = _inputs(x, self.losses.network)[None]
        with torch.no_grad():
            return self.losses.outputs(self.params, Examples(inputs, inputs)).parameters[0][0].numpy()


class FewShot(MetaLearner[FewShotConfig, ShotInnerLoop]):
    """A meta-learner for supervised tasks.

    Args:
        data: The tasks: `sinusoid`, `glyphs`, `omniglot` or `folder`, which has the settings of its preset; a class of
            your own, or an object of it, with `sample_tasks(n, rng)` and `examples(task, n, rng)`; or a whole
            configuration, a preset's say.
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
        if isinstance(data, str) and data == "folder":
            data = for_data(data)
        if not isinstance(data, FewShotConfig):
            parts = Parts(data=None if isinstance(data, str) else made_source(data))
            recorded, _ = named("data", data)
            # a method that is named has the settings that suit such tasks
            name = method if isinstance(method, str) and method in SUPERVISED else "maml"
            data, chosen = FewShotConfig(data=recorded), SUPERVISED[name]
            data = dataclasses.replace(data, method=chosen, **chosen.suited(data))
        config = with_settings(with_method(data, method), settings)
        if not resume:
            config.check_heeded()
        self._begin(config, parts, log_dir, verbose, resume)

    def adapt(self, x: Any, y: Any, steps: int | None = None) -> AdaptedNetwork:
        """Take gradient steps on a few labelled examples and return the network; the model stays as it is.

        Args:
            x: Inputs, `[N, ...]`.
            y: Targets, `[N, o]`; in classification the classes `[N]`.
            steps: Gradient steps; by default as many as in training.

        Raises:
            UserError: If `steps` is negative, there are no examples or some are not finite, x and y are not of one
                length or of other shapes than those learned from, or a class is out of range.
        """
        steps = self.config.method.inner_steps if steps is None else steps
        check_counts(steps=(steps, 0))
        inner_loop = self.trainer.inner_loop
        network = inner_loop.losses.network
        inputs = _inputs(x, network)
        targets = (_targets if isinstance(inner_loop.losses, Regression) else _classes)(y, network)
        if len(inputs) != len(targets):
            raise UserError(f"x has {len(inputs)} examples, y {len(targets)}")
        if not (inputs.isfinite().all() and targets.isfinite().all()):
            raise UserError("the examples to adapt to must be finite")
        *_, adapted = inner_loop.adapted(self.trainer.params, Examples(inputs[None], targets[None]), steps)
        return AdaptedNetwork(inner_loop.losses, inner_loop.losses.own(adapted))

    def read_pictures(self, files: str | Path | Iterable[str | Path]) -> NDArray[np.float32]:
        """Return pictures `[N, channels, side, side]` from files, as those that the model has learned from.

        Args:
            files: PNG or JPEG files, or one.

        Raises:
            UserError: If a file is damaged, there is none, or the model has not learned from such pictures.
        """
        c = self.config
        if not c.pictures:
            raise UserError(f"read_pictures is for pictures that come with metarl or from a folder, not for {c.source}")
        several = [files] if isinstance(files, str | Path) else files
        pictures = [read_picture(Path(file), c.side, c.colour)[0] for file in several]
        if not pictures:
            raise UserError("read_pictures needs files, got none")
        return np.stack(pictures).astype(np.float32) / np.float32(255)


def _inputs(x: Any, network: Any) -> Tensor:
    """Return inputs `[N, ...]` in torch's default precision, once they are as the network takes them."""
    found = numbers(x, "x")
    if found.shape[1:] != network.shape:
        raise UserError(f"x must be inputs {_shape('N', *network.shape)}, got {list(found.shape)}")
    if isinstance(network, ConvNet) and len(found) == 1 and max(network.shape[1:]) <= ConvNet.SHRINKS:
        raise UserError("of pictures so small, a conv network needs at least two: it normalises by the batch")
    return torch.from_numpy(found).to(torch.get_default_dtype())


def _targets(y: Any, network: Any) -> Tensor:
    """Return the targets `[N, o]` of a regression."""
    found = numbers(y, "y")
    if found.ndim != 2 or found.shape[1] != network.outputs:
        raise UserError(f"y must be targets {_shape('N', network.outputs)}, got {list(found.shape)}")
    return torch.from_numpy(found).to(torch.get_default_dtype())


def _classes(y: Any, network: Any) -> Tensor:
    """Return the classes `[N]` of a classification."""
    found = numbers(y, "y")
    if found.ndim != 1 or found.dtype.kind == "f":
        raise UserError(f"y must be classes [N], whole numbers; got {found.dtype} {list(found.shape)}")
    if found.min() < 0 or found.max() >= network.outputs:
        raise UserError(f"y must be classes from 0 to {network.outputs - 1}, got {found.min()} to {found.max()}")
    return torch.from_numpy(found.astype(np.int64))


def _shape(*sizes: object) -> str:
    return f"[{', '.join(map(str, sizes))}]"
