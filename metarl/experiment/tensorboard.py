"""What TensorBoard shows of a run beside its scalars: settings, how it was started, layouts, figures, histograms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.logger import Figure, Logger, TensorBoardOutputFormat
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # type: ignore[attr-defined]
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as make_summaries

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment.config_file import flat
from metarl.experiment.signals import quiet_writer

if TYPE_CHECKING:
    import matplotlib.figure

FIRST = ("method", "env", "data", "method.inner_lr", "tasks", "episodes", "shots")
"""Settings that people compare runs by; a run has five of them, as many as the HParams tab shows unasked."""


def log_start(logger: Logger, record: Mapping[str, Any], measure: str, inner_steps: int, eval_steps: int) -> None:
    """Fill TensorBoard's HParams and Text tabs, and group the scalars that belong together in its custom layouts.

    Args:
        logger: The run's logger.
        record: What `config.json` records: settings, versions, commit and command.
        measure: The return, the loss or the accuracy.
        inner_steps: Number of the last phase that training plays.
        eval_steps: Gradient steps of an evaluation.
    """
    held_out = [f"eval/{measure}_step{k}" for k in range(eval_steps + 1)]
    training = [f"meta/{measure}_step{k}" for k in range(inner_steps + 1)]
    compared = [held_out[min(inner_steps, eval_steps)], held_out[0], held_out[-1], training[-1]]
    layout = {
        f"{measure}s" if measure == "return" else measure: {
            **{f"held-out tasks, {_after(k)}": ["Multiline", [tag]] for k, tag in enumerate(held_out)},
            **{f"training tasks, {_after(k)}": ["Multiline", [tag]] for k, tag in enumerate(training)},
        },
        "seconds of an iteration": {
            "sampling": ["Multiline", ["time/sampling_seconds"]],
            "meta-update": ["Multiline", ["time/meta_update_seconds"]],
        },
    }
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.add_custom_scalars(layout)
            output.writer.add_text("run", card(record), 0)
            for summary in _hparam_summaries(hparams(record["config"]), compared):
                output.writer._get_file_writer().add_summary(summary)


def _after(steps: int) -> str:
    return "before adaptation" if steps == 0 else f"after {steps} step{'s' * (steps != 1)}"


def hparams(config: dict[str, Any]) -> dict[str, int | float | str | bool]:
    """Return the settings as the HParams tab shows them: side by side, those that people compare first."""
    values = {name.removesuffix(".name"): value for name, value in flat(config).items()}
    shown = {name: value for name, value in values.items() if isinstance(value, int | float | str | bool)}
    return {name: shown[name] for name in FIRST if name in shown} | shown


def _hparam_summaries(settings: dict[str, int | float | str | bool], compared: list[str]) -> Iterator[Summary]:
    """Yield what the HParams tab is made of: torch's, where it puts what people compare first.

    TensorBoard has its own order: settings that are said to differ between runs, then the others.
    """
    experiment, start, end = make_summaries(settings, dict.fromkeys(compared, 0.0))
    held = experiment.value[0].metadata.plugin_data
    data = HParamsPluginData.FromString(held.content)
    for info in data.experiment.hparam_infos:
        info.differs = info.name in FIRST
    held.content = data.SerializeToString()
    yield from (experiment, start, end)


def card(record: Mapping[str, Any]) -> str:
    """Return how a run was started, as Markdown: the command, the commit of the code, versions and settings."""
    program, *rest = map(str, record["command"])
    program = Path(program).name if Path(program).name == "metarl" else program  # wherever it is installed
    rows = {
        "commit": record["git_commit"] or "not in a repository",
        **{name: version for name, version in record["versions"].items() if version},
        **{f"`{name}`": value for name, value in hparams(record["config"]).items()},
    }
    head = f"| command | `{' '.join([program, *rest])}` |"
    return "\n".join([head, "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def curve_figure(curve: AdaptationCurve) -> Figure:
    """Draw an adaptation curve for TensorBoard."""
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=(5, 3.8), layout="constrained")
    axis = figure.subplots()
    curve.draw(axis, "#4269d0", "")
    axis.set(xlabel=curve.unit, ylabel=curve.measure, title=f"{curve.env}, {len(curve.per_task)} held-out tasks")
    return Figure(figure, close=False)


def log_figure(figure: matplotlib.figure.Figure, directory: Path, name: str, step: int) -> None:
    """Add a figure to a run's TensorBoard; errors as `adding_to`."""
    with adding_to(directory) as writer:
        writer.add_figure(name, figure, step, close=False)


@contextmanager
def adding_to(directory: Path) -> Iterator[SummaryWriter]:
    """Open the TensorBoard of a run that is done, to add to it.

    Raises:
        UserError: If it cannot be written.
    """
    try:
        with quiet_writer():
            writer = SummaryWriter(str(directory))
            yield writer
            writer.close()
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"cannot write to the TensorBoard of {str(directory)!r}: {why}") from error


def histograms(params: Mapping[str, Tensor], change: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """Return the values of each layer, and what one inner step adds to them in all tasks, by the name of their card.

    The names come last in the alphabet, so that TensorBoard opens on curves.
    """
    found = {f"weights/{layer}": _joined(params[name].detach() for name in names) for layer, names in _layers(params)}
    moved = {name: torch.from_numpy(value) for name, value in change.items()}
    changed = {f"weights_change/{layer}": _joined(moved[name] for name in names) for layer, names in _layers(moved)}
    return found | changed


def _layers(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the layers and the names of their params; one of no layer (a policy's log_std) is its own."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    yield from layers.items()


def _joined(values: Iterable[Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in values])
