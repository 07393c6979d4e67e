"""Figures of runs: learning curves, adaptation curves, paths in 2-D navigation."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment.outputs import read_rows
from metarl.experiment.run import RunDirectory
from metarl.models.rl import Model
from metarl.seeding import TEST, draw_tasks, task_rngs

MEASURES = ("return", "loss", "accuracy")
"""What a run may measure."""

LINES = ["#4269d0", "#ff725c", "#3ca951", "#a463f2", "#9c6b4e", "#ff8ab7", "#6cc5b0", "#efb118"]
"""Colours of the runs, in the order in which they are named."""


def plot_runs(paths: Sequence[Path]) -> Figure:
    """Draw runs of one environment: returns against environment steps and seconds, and adaptation curves.

    Args:
        paths: Run directories.

    Raises:
        UserError: If a directory holds no run, a table of it is damaged, or environments differ.
    """
    runs = {path: RunDirectory(path).config() for path in paths}
    envs = sorted({config.title for config in runs.values()})
    if len(envs) > 1:
        raise UserError(f"one figure shows runs of one environment, these are of {', '.join(envs)}")
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    by_steps, by_time, adaptation = figure.subplots(1, 3)
    measure, units = MEASURES[0], set[str]()
    for path, colour in zip(paths, LINES * len(paths), strict=False):
        name = path.name
        table = read_progress(path)
        measure = next(m for m in MEASURES if f"meta/{m}_step0" in table)
        phases = [key for key in table if key.startswith(f"meta/{measure}_step")]
        last = max(phases, key=lambda key: int(key.rpartition("step")[2]))
        seconds = table["time/total_seconds"]
        for axis, x in ((by_steps, table["time/total_timesteps"]), (by_time, seconds / 60)):
            axis.plot(x, table[last], color=colour, lw=1.2, label=f"{name}, adapted")
            axis.plot(x, table[f"meta/{measure}_step0"], color=colour, lw=1, alpha=0.45, ls="--", label="before")
        curve = read_curve(path)
        if curve is not None:
            curve.draw(adaptation, colour, name)
            units.add(curve.unit)
    drawn = "environment steps" if measure == "return" else "examples"
    by_steps.set(xlabel=drawn, ylabel=measure, title=envs[0])
    by_time.set(xlabel="minutes", title="training tasks")
    adaptation.set(xlabel=" or ".join(sorted(units)), title="held-out tasks, 95 % interval")
    by_steps.legend(fontsize=8, frameon=False)
    if adaptation.has_data():
        adaptation.legend(fontsize=8, frameon=False)
    return figure


def plot_curves(curves: dict[str, AdaptationCurve]) -> Figure:
    """Draw adaptation curves, by name, with their 95 % intervals."""
    figure = Figure(figsize=(5, 3.8), layout="constrained")
    axis = figure.subplots()
    for (name, curve), colour in zip(curves.items(), LINES * len(curves), strict=False):
        curve.draw(axis, colour, name)
    units = sorted({curve.unit for curve in curves.values()})
    first = next(iter(curves.values()))
    axis.set(xlabel=" or ".join(units), ylabel=first.measure, title=first.env)
    axis.legend(fontsize=8, frameon=False)
    return figure


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
    if not re.fullmatch(r"metarl/\w+Navigation-v0", model.config.env):
        raise UserError(f"paths are drawn of 2-D navigation only, this model is of {model.config.title}")
    inner_loop = model.trainer.build_inner_loop(held_out=True, tasks=tasks)
    goals = draw_tasks(inner_loop, tasks, seed, TEST)
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
            axis.set_title(f"{step} {'step' if step == 1 else 'steps'}: {float(returns.mean()):.1f}", fontsize=9)
            axis.set_aspect("equal")
    inner_loop.close()
    return figure


def read_progress(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read a run's `progress.csv`, column by column; values that are missing are NaN.

    Raises:
        UserError: If there is none or it is damaged.
    """
    file = path / "progress.csv"
    if not file.exists():
        raise UserError(f"{str(path)!r} holds no progress.csv")
    rows = [row for row in read_rows(file) if "time/iterations" in row]
    if not rows:
        raise UserError(f"{str(file)!r} is empty or damaged")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows], dtype=np.float64) for name in names}


def read_curve(path: Path) -> AdaptationCurve | None:
    """Read the adaptation curve of a run's last evaluation, if it has been evaluated."""
    file = path / "curve.json"
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text())
        per_task, measure = np.array(found["per_task"], dtype=np.float64), found.get("measure", "return")
        return AdaptationCurve(found["env"], per_task, int(found["env_steps"]), unit=found["unit"], measure=measure)
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{str(file)!r} is damaged ({error})") from error
