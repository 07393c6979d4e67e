"""Figures of runs: learning curves and adaptation curves, several seeds as one curve with a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from metarl.core.statistics import Aggregate, mean_and_interval
from metarl.errors import UserError, few
from metarl.evaluation import AdaptationCurve
from metarl.report.plot import COLUMN, SEED, Medium, draw_spread, drawn_for, logarithmic, looks
from metarl.report.run_groups import MEASURES, Group, groups_of, labels_of, read_curve, read_progress

XAxis = Literal["steps", "seconds", "iterations"]
"""What a learning curve is drawn against."""

COLUMNS = {"steps": "time/total_timesteps", "seconds": "time/total_seconds", "iterations": "time/iterations"}

TasksOf = Literal["train", "held-out"]
"""Whose returns a learning curve shows: those of the tasks trained on, or of the run's evaluations."""

PHASES = {"train": "meta", "held-out": "eval"}
"""How the names of their columns begin."""

TITLES = {"train": "training tasks", "held-out": "held-out tasks"}


@dataclass(frozen=True)
class Look:
    """How figures of runs look."""

    x: tuple[XAxis, ...] = ("steps", "seconds")
    """What learning curves are drawn against, a panel each."""
    tasks: TasksOf = "train"
    """Tasks of the learning curves: those trained on, or held-out ones, by which a run chooses its best params."""
    smooth: int = 1
    """Running mean over so many logged iterations, or evaluations."""
    aggregate: Aggregate = "mean"
    """What becomes of several seeds: the mean, or iqm, the interquartile mean (fewer than four seeds: the mean)."""
    labels: tuple[str, ...] = ()
    """Names of the curves, in order."""
    size: tuple[float, float] | None = None
    """Width and height in inches; by default what the style and the number of panels ask for."""
    style: Medium = "screen"
    """For a screen; or paper, as wide as a column (3.25 in), its panels below each other, and fonts of 8 points."""
    measure: Literal["return", "success"] | None = None
    """What is drawn; by default what the runs learned by."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.smooth < 1:
            raise UserError(f"smooth must be at least 1, got {self.smooth}")
        if not self.x:
            raise UserError(f"x needs one of {', '.join(COLUMNS)}")
        if self.size is not None and not all(1 <= side <= 100 for side in self.size):
            raise UserError(f"size must be a width and a height from 1 to 100 inches, got {self.size}")


def plot_runs(paths: Sequence[Path], look: Look | None = None) -> Figure:
    """Draw learning curves, and adaptation curves on held-out tasks, of runs of one environment.

    Runs that differ in their seed alone become one curve with its 95 % interval; two of them are drawn beside their
    mean instead. Adaptation is drawn against steps; where policies with a memory and others are compared, against the
    episodes of the task that each has seen.

    Args:
        paths: Run directories, or folders of them.
        look: How it looks.

    Raises:
        UserError: If a directory holds no run, a table of it is damaged, or environments differ.
    """
    look = look or Look()
    groups = groups_of(paths)
    labels = list(look.labels) or labels_of(groups)
    if len(labels) != len(groups):
        raise UserError(f"labels must be as many as curves: {len(groups)} curves, {len(labels)} labels")
    with drawn_for(look.style):
        return _figure(groups, labels, look)


def _figure(groups: list[Group], labels: list[str], look: Look) -> Figure:
    panels, paper = len(look.x) + 1, look.style == "paper"
    size = look.size or ((COLUMN, 2.0 * panels) if paper else (4.3 * panels, 3.9))
    figure = Figure(figsize=size, layout="constrained")
    *learning, adaptation = np.ravel(figure.subplots(panels, 1) if paper else figure.subplots(1, panels))
    handles = []
    tables_of = [[read_progress(path) for path in group.paths] for group in groups]
    measure = [_measure(group, tables[0], look) for group, tables in zip(groups, tables_of, strict=True)][-1]
    columns_of = [_columns(group, tables, measure, look) for group, tables in zip(groups, tables_of, strict=True)]
    seconds = [table[COLUMNS["seconds"]][-1] for tables in tables_of for table in tables]
    curves_of = [_evaluated(group, look.measure) for group in groups]
    units = {curves[0].unit for curves in curves_of if curves}
    by_episodes = len(units) > 1 and all(curve.episodes is not None for curves in curves_of for curve in curves)
    unit_of_time, unit_seconds = time_unit(max(seconds))
    for number, (colour, style) in enumerate(looks(len(groups))):
        drawn: dict[str, Any] = {"color": colour, "ls": style}
        for axis, x in zip(learning, look.x, strict=True):
            _draw_learning(axis, tables_of[number], x, columns_of[number], look, drawn, unit_seconds)
        if curves_of[number]:
            _draw_adaptation(adaptation, curves_of[number], look, drawn, by_episodes)
        handles.append(Line2D([], [], label=labels[number], **drawn))
    ticks = figure.get_figwidth() / (1 if paper else panels) / 0.8
    for axis, x in zip(learning, look.x, strict=True):
        _name_learning(axis, x, measure, unit_of_time, max(2, min(5, int(ticks))))
        axis.set_title(TITLES[look.tasks])
    for axis in figure.axes if paper else figure.axes[:1]:
        axis.set_ylabel(measure)
    learning[0].set_title(f"{groups[0].title}\n{TITLES[look.tasks]}")
    unit = "episodes of the task seen" if by_episodes else " or ".join(sorted(units))
    unseen = [label for label, curves in zip(labels, curves_of, strict=True) if not curves]
    without = f"\nwithout {few(unseen, 2)}: not evaluated" if unseen else ""
    adaptation.set(xlabel=unit, title=f"{TITLES['held-out']}{without}")
    if by_episodes:
        logarithmic(adaptation)
    # once for all curves: what is adapted, what was before, and what is no mean
    handles += [Line2D([], [], color="grey", label="adapted"), _before(Line2D([], [], color="grey", label="before"))]
    if any(len(group.paths) == 2 for group in groups):
        handles.append(Line2D([], [], color="grey", label="one seed", **SEED))
    columns = max(1, int(figure.get_figwidth() / (1.5 if paper else 2.2)))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), frameon=False)
    return figure


def _name_learning(axis: Axes, x: XAxis, measure: str, unit_of_time: str, ticks: int) -> None:
    """Say what is on the x-axis of a learning curve, with at most so many ticks: their labels are half an inch wide."""
    steps = "environment steps" if measure in ("return", "success") else "examples"
    axis.set_xlabel({"steps": steps, "iterations": "meta-iterations", "seconds": unit_of_time}[x])
    if x == "steps":
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.xaxis.set_major_locator(MaxNLocator(ticks, integer=x == "iterations"))


def _before(line: Line2D) -> Line2D:
    """Make the line of a policy before adaptation pale."""
    line.set(alpha=0.4, linewidth=line.get_linewidth() * 0.75)
    return line


def time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit that suits a run of some length, and its seconds."""
    if seconds < 300:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 18_000 else ("hours", 3600.0)


def _draw_learning(
    axis: Axes,
    tables: list[dict[str, NDArray[np.float64]]],
    x: XAxis,
    columns: tuple[str, str],
    look: Look,
    drawn: dict[str, Any],
    unit: float,
) -> None:
    """Draw the curve after adaptation and the one before it; evaluations, which are fewer, as points too."""
    held_out = look.tasks == "held-out"
    rows_of = [np.isfinite(table[columns[0]]) | (not held_out) for table in tables]
    xs = [table[COLUMNS[x]][rows] for table, rows in zip(tables, rows_of, strict=True)]
    for number, key in enumerate(dict.fromkeys(columns)):
        ys = [smoothed(table[key][rows], look.smooth) for table, rows in zip(tables, rows_of, strict=True)]
        grid, values = aligned(xs, ys)
        grid = grid / unit if x == "seconds" else grid
        centre, low, high = mean_and_interval(values, look.aggregate)
        (line,) = axis.plot(grid, centre, marker="o" if held_out else None, ms=2.5, **drawn)
        if number:
            _before(line)
        elif len(values) > 1:
            draw_spread(axis, grid, (low, high), values, colour=drawn["color"], style=drawn["ls"], alpha=0.18)


def _columns(group: Group, tables: list[dict[str, NDArray[np.float64]]], measure: str, look: Look) -> tuple[str, str]:
    """Return the columns of what was reached by the steps trained with, and before any.

    Raises:
        UserError: If a run has none.
    """
    start = f"{PHASES[look.tasks]}/{measure}_step"
    for path, table in zip(group.paths, tables, strict=True):
        if f"{start}0" not in table:
            what = f"evaluations of its {measure}" if look.tasks == "held-out" else measure
            raise UserError(f"{str(path)!r} has no {what} on {TITLES[look.tasks]}")
    last = max(int(key.removeprefix(start)) for key in tables[0] if key.startswith(start))
    if look.tasks == "held-out" and group.steps is not None:  # it may have been evaluated by more than were trained
        last = min(last, group.steps)
    return f"{start}{last}", f"{start}0"


def _measure(group: Group, table: dict[str, NDArray[np.float64]], look: Look) -> str:
    """Return what is drawn.

    Raises:
        UserError: If the runs have none of it.
    """
    measure = look.measure or next(m for m in MEASURES if f"meta/{m}_step0" in table)
    if f"meta/{measure}_step0" not in table:
        raise UserError(f"{str(group.paths[0])!r} has no {measure}: its environment tells none")
    return measure


def _evaluated(group: Group, measure: str | None) -> list[AdaptationCurve]:
    """Return the adaptation curves of the runs' last evaluations, of those that have been evaluated."""
    return [curve for path in group.paths if (curve := read_curve(path, measure)) is not None]


def _draw_adaptation(
    axis: Axes, curves: list[AdaptationCurve], look: Look, drawn: dict[str, Any], by_episodes: bool
) -> None:
    """Draw adaptation curves of runs that differ in their seed as one; a lone run's interval is over its tasks."""
    steps = min(len(curve.steps) for curve in curves)
    x = ((curves[0].episodes if by_episodes else None) or curves[0].steps)[:steps]
    values = np.stack([curve.mean[:steps] for curve in curves])  # [S, steps + 1]
    centre, *ends = mean_and_interval(values, look.aggregate)
    low, high = curves[0].interval if len(curves) == 1 else ends
    axis.plot(x, centre, marker="o", ms=3.5, **drawn)
    draw_spread(axis, x, (low, high), values, colour=drawn["color"], style=drawn["ls"], alpha=0.18)
    if not by_episodes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the mean over the last `window` values at each of them, fewer at the beginning; NaN stays out of it."""
    known = np.isfinite(values)
    total, count = np.cumsum(np.where(known, values, 0.0)), np.cumsum(known)
    total[window:], count[window:] = total[window:] - total[:-window], count[window:] - count[:-window]
    with np.errstate(invalid="ignore"):
        return total / count


def aligned(
    xs: Sequence[NDArray[np.float64]], ys: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what several curves have in common: `[n]` places, as far as all of them go, and their values `[S, n]`."""
    if all(len(x) == len(xs[0]) for x in xs):  # iteration by iteration: the seeds' seconds or steps are averaged
        return np.mean(xs, axis=0), np.stack(ys)
    start, end = max(x[0] for x in xs), min(x[-1] for x in xs)
    if start > end:
        raise UserError("the runs of one group have no part of the x-axis in common; give each a figure of its own")
    grid = np.linspace(start, end, max(len(x) for x in xs))
    return grid, np.stack([np.interp(grid, x, y) for x, y in zip(xs, ys, strict=True)])
