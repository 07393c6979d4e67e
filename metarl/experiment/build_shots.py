"""From a configuration to the inner loop of supervised tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarl.errors import UserError
from metarl.experiment.build import check_device
from metarl.experiment.memory import check_fits, check_memory
from metarl.fewshot.folders import find_pictures, read_folder
from metarl.fewshot.glyphs import glyphs
from metarl.fewshot.images import Classes, Pictures
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.networks import MLP, ConvNet
from metarl.fewshot.own_source import OwnSource, TaskSource
from metarl.fewshot.sinusoid import Sinusoids

if TYPE_CHECKING:
    from metarl.experiment.few_shot_config import FewShotConfig
    from metarl.experiment.parts import Parts


def build_shot_loop(config: FewShotConfig, parts: Parts, tasks: int, held_out: bool = False) -> ShotInnerLoop:
    """Build the inner loop of supervised tasks under this configuration.

    Args:
        config: The run's configuration.
        parts: Objects that it names.
        tasks: Number of tasks.
        held_out: Whether to evaluate: on `eval_queries`, and with the same examples in every inner step.

    Raises:
        UserError: If the device cannot be used, memory would not suffice, or there are too few pictures.
    """
    check_device(config.device)
    queries = config.judging(held_out)
    check_memory(config, tasks, queries)
    if parts.data is not None:
        source, losses = _own(config, parts.data, queries, held_out)
    else:
        parts.check(config.named_parts)
        source, losses = _pictures(config, queries, held_out) if config.pictures else _waves(config, queries)
    # Reptile's steps see new examples each, the others the same few (Nichol et al. 2018, section 3)
    fresh = not (config.method.plays_query or held_out)
    return ShotInnerLoop(source, losses, config.method, tasks, fresh, config.device, config.later_lr)


def _own(
    config: FewShotConfig, given: TaskSource, queries: int, held_out: bool
) -> tuple[OwnSource, Regression | Classification]:
    source = OwnSource(given, config.shots, queries, config.ways, "validation" if held_out else "train")
    shape, outputs = source.first[0].shape[1:], source.first[1].shape[1:]
    if config.network == "conv":
        if not source.classifies or len(shape) != 3:
            raise UserError(
                f"network conv is for classes of pictures [n, channels, height, width]; {source.name} has others"
            )
        return source, Classification(ConvNet(config.filters, config.ways, config.seed, shape))
    width = config.ways if source.classifies else outputs[0]
    network = MLP(shape, config.hidden, width, config.seed, config.context_size)
    return source, Classification(network) if source.classifies else Regression(network)


def _waves(config: FewShotConfig, queries: int) -> tuple[Sinusoids, Regression]:
    source = Sinusoids(config.shots, queries, config.oracle)
    return source, Regression(MLP((source.inputs,), config.hidden, 1, config.seed, config.context_size))


def _pictures(config: FewShotConfig, queries: int, held_out: bool) -> tuple[Classes, Classification]:
    pictures = glyphs(held_out) if config.data == "glyphs" else _of_folder(config)[held_out]
    source = Classes(pictures, config.ways, config.shots, queries, _turns(config) > 1 and not held_out)
    shape = pictures.pixels.shape[1:]
    if config.network == "conv":
        return source, Classification(ConvNet(config.filters, config.ways, config.seed, shape))
    return source, Classification(MLP(shape, config.hidden, config.ways, config.seed, config.context_size))


def _of_folder(config: FewShotConfig) -> tuple[Pictures, Pictures]:
    """Return the pictures of a folder, those to learn from and those held out, once there are enough of both."""
    if not config.folder:
        raise UserError(f"data {config.data} needs --folder (folder=... in Python), where a folder for each class lies")
    found = find_pictures(config.folder)
    found.check_enough(config.ways, config.shots, config.queries, config.eval_queries, _turns(config))
    size = f"the {found.total} pictures of {config.folder!r} with side={config.side}, colour={config.colour}"
    check_fits(found.total * config.channels * config.side**2, size)
    return read_folder(found, config.side, config.colour)


def _turns(config: FewShotConfig) -> int:
    """Return how many classes a class to learn from is: letters of Omniglot are others once they are turned."""
    return 4 if config.data == "omniglot" else 1
