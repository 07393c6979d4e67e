"""Sine waves fitted by a network before and after adaptation."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from metarl.errors import UserError
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.shots import Examples
from metarl.fewshot.sinusoid import INPUTS, Sinusoids
from metarl.models.supervised import FewShot
from metarl.seeding import TEST, draw_tasks, task_rngs

SHADES = ("#9aa0a6", "#efb118", "#ff725c", "#a463f2", "#4269d0")
"""Colours from before adaptation to the last number of steps."""


def plot_sines(model: FewShot, steps: tuple[int, ...] = (0, 1, 10), seed: int = 0) -> Figure:
    """Draw four held-out sine waves, their shots, and what the network makes of them (Finn et al. 2017, figure 2).

    Args:
        model: A model of sine waves, which stays as it is.
        steps: Numbers of gradient steps to show.
        seed: Chooses the tasks and shots.

    Raises:
        UserError: If the model is of other tasks.
    """
    tasks = 4
    inner_loop = model.trainer.build_inner_loop(held_out=True, tasks=tasks)
    if not isinstance(inner_loop.source, Sinusoids):
        raise UserError(f"fitted sine waves are drawn of sinusoid runs only, this one is of {model.config.data}")
    source = inner_loop.source
    drawn = draw_tasks(source, tasks, seed, TEST)
    grid = torch.linspace(*INPUTS, 200, dtype=torch.float64).expand(tasks, -1)
    truth = source.batch(drawn, grid)
    support = source.draw(drawn, task_rngs(seed, TEST, 0, range(tasks))(0)).support
    fits = _fits(inner_loop, model, support, truth, max(steps))
    figure = Figure(figsize=(3.2 * tasks, 3), layout="constrained")
    for i, axis in enumerate(figure.subplots(1, tasks, sharey=True, squeeze=False)[0]):
        axis.plot(grid[i], truth.y[i, :, 0], color="black", lw=1, label="truth")
        for step, shade in zip(steps, SHADES * len(steps), strict=False):
            axis.plot(grid[i], fits[step][i], color=shade, lw=1.5, label=f"{step} steps")
        axis.plot(support.x[i, :, 0], support.y[i, :, 0], "k^", ms=5, label="shots")
        axis.set(title=f"amplitude {drawn[i, 0]:.2f}, phase {drawn[i, 1]:.2f}", xlabel="x")
    figure.axes[0].legend(fontsize=7, frameon=False)
    return figure


def _fits(inner_loop: ShotInnerLoop, model: FewShot, support: Examples, truth: Examples, steps: int) -> list[Tensor]:
    """Return the predictions `[K, N]` after 0, 1, ..., `steps` gradient steps."""
    along = list(inner_loop.adapted(model.trainer.params, support, steps))
    with torch.no_grad():
        return [inner_loop.losses.outputs(adapted, truth).mode()[..., 0] for adapted in along]
