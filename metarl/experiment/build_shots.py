"""From a configuration to the inner loop of supervised tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarl.errors import UserError
from metarl.experiment.build import check_device
from metarl.experiment.memory import check_memory
from metarl.fewshot.folders import read_folder
from metarl.fewshot.glyphs import glyphs
from metarl.fewshot.images import SIDE, Classes
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.networks import MLP, ConvNet
from metarl.fewshot.sinusoid import Sinusoids

if TYPE_CHECKING:
    from metarl.experiment.config import FewShotConfig


def build_shot_loop(config: FewShotConfig, tasks: int, held_out: bool = False) -> ShotInnerLoop:
    """Build the inner loop of supervised tasks under this configuration.

    Args:
        config: The run's configuration.
        tasks: Number of tasks.
        held_out: Whether to evaluate: on `eval_queries`, and with the same examples in every inner step.

    Raises:
        UserError: If the device cannot be used, memory would not suffice, or there are too few pictures.
    """
    check_device(config.device)
    queries = config.judging(held_out)
    check_memory(config, tasks, queries)
    source, losses = (_classification if config.pictures else _regression)(config, queries, held_out)
    # Reptile's steps see new examples each, the others the same few (Nichol et al. 2018, section 3)
    fresh = not (config.method.plays_query or held_out)
    return ShotInnerLoop(source, losses, config.method, tasks, fresh, config.device, config.later_lr)


def _regression(config: FewShotConfig, queries: int, held_out: bool) -> tuple[Sinusoids, Regression]:
    source = Sinusoids(config.shots, queries, config.oracle)
    return source, Regression(MLP((source.inputs,), config.hidden, 1, config.seed, config.context_size))


def _classification(config: FewShotConfig, queries: int, held_out: bool) -> tuple[Classes, Classification]:
    if config.data != "glyphs" and not config.folder:
        raise UserError(f"data {config.data} need --folder (folder=... in Python), where their pictures lie")
    pictures = glyphs(held_out) if config.data == "glyphs" else read_folder(config.folder, held_out)
    rotations = config.data == "omniglot" and not held_out
    try:
        source = Classes(pictures, config.ways, config.shots, queries, rotations)
    except UserError as error:
        raise UserError(f"held-out classes: {error}" if held_out else str(error)) from error
    if config.network == "conv":
        return source, Classification(ConvNet(config.filters, config.ways, config.seed))
    return source, Classification(MLP((1, SIDE, SIDE), config.hidden, config.ways, config.seed, config.context_size))
