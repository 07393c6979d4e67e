"""How curves are told apart, and figures of paths in 2-D navigation."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from metarl.errors import UserError
from metarl.models.rl import Model
from metarl.seeding import TEST, draw_tasks, task_rngs

LINES = ["#4269d0", "#ff725c", "#3ca951", "#a463f2", "#9c6b4e", "#ff8ab7", "#6cc5b0", "#efb118"]
"""Colours of the runs, in the order in which they are named."""

Medium = Literal["screen", "paper"]
"""What a figure of curves is made for: a screen, or a paper, as wide as a column of it."""

COLUMN = 3.25
"""Width of a column of a paper, in inches."""

RC: dict[Medium, dict[Any, Any]] = {
    "paper": {
        "font.size": 8,
        "axes.titlesize": 8,
        "legend.fontsize": 7,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.0,
    },
    "screen": {"font.size": 10, "axes.titlesize": 11, "legend.fontsize": 9, "lines.linewidth": 1.5},
}
"""Fonts and lines."""


def drawn_for(medium: Medium) -> AbstractContextManager[None]:
    """Return the context in which a figure is made for a medium."""
    return matplotlib.rc_context(RC[medium])


def as_file(figure: Figure, ending: str) -> bytes:
    """Return a figure as a file of a format, fine enough for its size, with TrueType fonts, which journals ask for.

    Raises:
        ValueError: If there is no such format.
    """
    drawn = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
        figure.savefig(drawn, dpi=300 if figure.get_figwidth() < 5 else 150, format=ending.removeprefix(".") or "png")
    return drawn.getvalue()


Style = Literal["-", "--", ":", "-."]

STYLES: tuple[Style, ...] = ("-", "--", ":", "-.")
"""Line styles, each of which goes through all colours before the next."""

SEED: dict[str, Any] = {"lw": 0.4}
"""How a single seed is drawn beside the mean of all."""


def looks(number: int) -> list[tuple[str, Style]]:
    """Return a colour and a line style for each of several curves, no pair of them twice.

    Raises:
        UserError: If there are more curves than pairs.
    """
    pairs: list[tuple[str, Style]] = [(colour, style) for style in STYLES for colour in LINES]
    if number > len(pairs):
        raise UserError(f"a figure tells at most {len(pairs)} curves apart, got {number}")
    return pairs[:number]


def draw_spread(
    axis: Axes, x: Any, ends: tuple[Any, Any], seeds: Any, *, colour: str, style: Style = "-", alpha: float
) -> None:
    """Draw how far seeds `[S, n]` lie apart: each of two as a thin line, more as the band between an interval's ends.

    The interval of two seeds says next to nothing: it may be many times as wide as all that there is to see. For three
    or more the axis makes room for the seeds, and what is wider is cut off. The interval of a lone one, which is over
    its tasks, is shown whole.
    """
    if len(seeds) == 2:
        for values in seeds:
            axis.plot(x, values, style, color=colour, **SEED)
        return
    room = axis.dataLim.frozen()
    axis.fill_between(x, *ends, color=colour, alpha=alpha, lw=0)
    axis.dataLim.set(room)
    for values in seeds if len(seeds) > 1 else ends:
        axis.update_datalim(np.column_stack([x, values]))
    axis.autoscale_view()


def logarithmic(axis: Axes) -> None:
    """Make the x-axis of an adaptation curve logarithmic, from 0 on: episodes of a task seen, one or many at a time."""
    most = axis.dataLim.x1
    axis.set_xscale("symlog", linthresh=1)
    ticks = [n * 10**power for power in range(9) for n in (1, 2, 5)]
    axis.set_xticks([0, *(tick for tick in ticks if tick <= most)])
    axis.minorticks_off()
    axis.xaxis.set_major_formatter(ScalarFormatter())
    scale = axis.xaxis.get_transform()
    left, right = scale.transform(np.array([0.0, max(most, 1.0)]))  # as they lie on paper
    margin = 0.04 * (right - left)
    axis.set_xlim(*scale.inverted().transform(np.array([left - margin, right + margin])))


def check_plane(model: Model) -> None:
    """Refuse models that do not walk in the plane.

    Raises:
        UserError: If the model's environment is not 2-D navigation.
    """
    if not re.fullmatch(r"metarl/\w+Navigation-v0", model.config.env):
        raise UserError(f"paths are drawn of 2-D navigation only, this model is of {model.config.title}")


def plot_paths(model: Model, steps: int = 2, tasks: int = 3, episodes: int = 3, seed: int = 0) -> Figure:
    """Draw paths in 2-D navigation, a row a task, a column a number of gradient steps, as the curve takes them.

    Args:
        model: The model, which stays as it is.
        steps: Gradient steps.
        tasks: Held-out tasks.
        episodes: Paths a picture.
        seed: Chooses the tasks and episodes.

    Raises:
        UserError: If the model does not walk in the plane to a goal that is its task.
    """
    check_plane(model)
    inner_loop = model.trainer.build_inner_loop(held_out=True, tasks=tasks)
    goals, memory = draw_tasks(inner_loop, tasks, seed, TEST), model.config.method.remembers
    played = inner_loop.play(model.trainer.params, goals, task_rngs(seed, TEST, 0, range(tasks)))
    figure = Figure(figsize=(2.4 * (steps + 1), 2.4 * tasks), layout="constrained")
    axes = figure.subplots(tasks, steps + 1, sharex=True, sharey=True, squeeze=False)
    for step, (_, phase) in enumerate(islice(played, steps + 1)):
        for axis, goal, obs, lengths, returns in zip(
            axes[:, step], goals, phase.obs, phase.lengths, phase.returns, strict=True
        ):
            for path, length, colour in zip(obs[:episodes], lengths, LINES, strict=False):
                axis.plot(*path[: int(length)].cpu().numpy().T, color=colour, lw=1)
            axis.plot(*goal, marker="*", ms=12, color="black", mec="white")
            after = f"episode {step + 1}" if memory else f"{step} {'step' if step == 1 else 'steps'}"
            axis.set_title(f"{after}: {float(returns.mean()):.1f}", fontsize=9)
            axis.set_aspect("equal")
    for axis in axes[-1]:
        axis.set_xlabel("x")
    for number, axis in enumerate(axes[:, 0]):
        axis.set_ylabel(f"task {number + 1}\ny")
    inner_loop.close()
    return figure
