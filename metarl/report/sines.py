"""Sine waves fitted by a network before and after adaptation."""

from __future__ import annotations

from typing import cast

import torch
from matplotlib.figure import Figure
from torch import Tensor

from metarl.core import params as P
from metarl.errors import UserError
from metarl.few_shot import FewShot
from metarl.fewshot.shots import Batch
from metarl.fewshot.sinusoid import INPUTS, Sinusoids
from metarl.streams import TEST, draw_tasks, task_rngs
from metarl.supervised import ShotPlayer

SHADES = ("#9aa0a6", "#efb118", "#ff725c", "#a463f2", "#4269d0")
"""Colours from before adaptation to the last number of steps."""


def plot_sines(model: FewShot, steps: tuple[int, ...] = (0, 1, 10), tasks: int = 4, seed: int = 0) -> Figure:
    """Draw held-out sine waves, their shots, and what the network makes of them (Finn et al. 2017, figure 2).

    Args:
        model: A model of sine waves, which stays as it is.
        steps: Numbers of gradient steps to show.
        tasks: Number of sine waves.
        seed: Chooses the tasks and shots.

    Raises:
        UserError: If the model is of other tasks.
    """
    player = cast(ShotPlayer, model.trainer.make_player(held_out=True, tasks=tasks))
    if not isinstance(player.source, Sinusoids):
        raise UserError(f"fitted sine waves are drawn of sinusoid runs only, this one is of {model.config.data}")
    source = player.source
    drawn = draw_tasks(source, tasks, seed, TEST)
    grid = torch.linspace(*INPUTS, 200, dtype=torch.float64).expand(tasks, -1)
    truth = source.batch(drawn, grid)
    support = source.draw(drawn, task_rngs(seed, TEST, 0, range(tasks))(0)).support
    fits = _fits(player, model, support, truth, max(steps))
    figure = Figure(figsize=(3.2 * tasks, 3), layout="constrained")
    for i, axis in enumerate(figure.subplots(1, tasks, sharey=True, squeeze=False)[0]):
        axis.plot(grid[i], truth.y[i, :, 0], color="black", lw=1, label="truth")
        for step, shade in zip(steps, SHADES * len(steps), strict=False):
            axis.plot(grid[i], fits[step][i], color=shade, lw=1.5, label=f"{step} steps")
        axis.plot(support.x[i, :, 0], support.y[i, :, 0], "k^", ms=5, label="shots")
        axis.set(title=f"amplitude {drawn[i, 0]:.2f}, phase {drawn[i, 1]:.2f}", xlabel="x")
    figure.axes[0].legend(fontsize=7, frameon=False)
    return figure


def _fits(player: ShotPlayer, model: FewShot, support: Batch, truth: Batch, steps: int) -> list[Tensor]:
    """Return the predictions `[K, N]` after 0, 1, ..., `steps` gradient steps."""
    adapted, fits = P.stack(model.trainer.params, len(support)), []
    for step in range(steps + 1):
        with torch.no_grad():
            fits.append(player.problem.outputs(adapted, truth).values[..., 0])
        adapted = player.step(adapted, support, step)
    return fits
