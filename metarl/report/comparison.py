"""What a benchmark's results say: means with intervals, as a table, a CSV file and a figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator

from metarl.core.statistics import mean_and_interval
from metarl.experiment.checkpoint import write_atomically
from metarl.methods import METHODS
from metarl.report.plot import COLUMN, LINES, SEED, Medium, draw_spread, drawn_for, logarithmic

BASELINES = ("random", "pretrained", "oracle", "scratch")
"""What is compared besides the methods: an untrained policy, two that PPO trains on all tasks, and PPO on one task."""


def summarise(results: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return for each method the means over seeds and tasks with their 95 % intervals.

    The tasks are the same for all, and the intervals are over the seeds; with a single seed, over the tasks.
    """
    summary = {}
    for method, runs in results.items():
        scores = np.array([run["per_task"] for run in runs], dtype=np.float64)  # [seeds, tasks, steps + 1]
        by_seed = scores.mean(1)
        centre, low, high = mean_and_interval(by_seed if len(runs) > 1 else scores[0])
        summary[method] = {
            "mean": centre.tolist(),
            "ci_low": low.tolist(),
            "ci_high": high.tolist(),
            "by_seed": by_seed.tolist(),
            "remembers": _remembers(method, runs[0]),
            "episodes_per_step": _episodes_per_step(method, runs[0]),
            "gain_step1": float(centre[min(1, len(centre) - 1)] - centre[0]),
            "env_steps": float(np.mean([run["train_steps"] for run in runs])),
            "seconds": float(np.mean([run["seconds"] for run in runs])),
        }
    if {"random", "oracle"} <= summary.keys():
        worst, best = summary["random"]["mean"][0], summary["oracle"]["mean"][0]
        for row in summary.values() if best > worst else ():  # as Finn et al. 2017 compare across simulators
            row["gap_closed"] = [(value - worst) / (best - worst) for value in row["mean"]]
    return summary


def compare_scratch(runs: list[dict[str, Any]], others: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the learning curve of PPO from scratch, and when it reaches what methods reach by one gradient step.

    Args:
        runs: Results of PPO from scratch, one a seed.
        others: Results of each method, whose first tasks are the same.

    Returns:
        `env_steps` of one task, `returns` (mean over tasks and seeds), and for each method `reached` after one
        gradient step on these tasks, and `steps_needed`: the environment steps after which PPO is as good on
        average, or None if it never was.
    """
    curves = [curve for run in runs for curve in run["curves"]]
    length = min(len(curve["returns"]) for curve in curves)
    env_steps = curves[0]["env_steps"][:length]
    returns = np.mean([curve["returns"][:length] for curve in curves], axis=0)
    tasks, reached, needed = len(runs[0]["tasks"]), {}, {}
    for method, results in others.items():
        per_task = np.array([run["per_task"][:tasks] for run in results], dtype=np.float64)  # [seeds, tasks, steps + 1]
        reached[method] = float(per_task[..., min(1, per_task.shape[-1] - 1)].mean())
        as_good = np.flatnonzero(returns >= reached[method])
        needed[method] = env_steps[as_good[0]] if len(as_good) else None
    found = {"tasks": runs[0]["tasks"], "env_steps": env_steps, "returns": returns.tolist()}
    return {**found, "reached": reached, "steps_needed": needed}


def draw(summary: dict[str, Any], style: Medium = "screen") -> Figure:
    """Draw the adaptation curves of all methods, and beside them how PPO learns from scratch.

    They are drawn against gradient steps; where a method with a memory is among them, against the episodes of the task
    that each has seen, so that they answer how much data adaptation needs.

    Args:
        summary: What `results.json` holds.
        style: For a screen; or paper, as wide as a column, with the panels below each other and the legend under them.
    """
    with drawn_for(style):
        return _figure(summary, style == "paper")


def _figure(summary: dict[str, Any], paper: bool) -> Figure:
    panels = 1 + ("scratch" in summary)
    size = (COLUMN, 2.3 * panels + 0.3) if paper else (6.5 if panels == 1 else 11, 4.2)
    figure = Figure(figsize=size, layout="constrained")
    axis, *beside = np.ravel(figure.subplots(panels, 1) if paper else figure.subplots(1, panels))
    colours = dict(zip(summary["methods"], LINES * 3, strict=False))
    memories = [method for method, row in summary["methods"].items() if row.get("remembers")]
    for number, (method, row) in enumerate(summary["methods"].items()):
        # a memory sees one more episode from point to point; what takes gradient steps, a batch of them
        batch = 1 if method in memories else summary["protocol"]["episodes"]
        steps = [point * (batch if memories else 1) for point in range(len(row["mean"]))]
        style = ":" if method in BASELINES else "-" if number < len(LINES) else "--"
        axis.plot(steps, row["mean"], style, color=colours[method], marker="o", ms=3, label=method)
        ends = row["ci_low"], row["ci_high"]
        draw_spread(axis, steps, ends, row["by_seed"], colour=colours[method], style=style, alpha=0.12)
    budget, seeds = summary["protocol"]["budget"], summary["seeds"]
    unit = "episodes of the task seen" if memories else "gradient steps"
    axis.set(xlabel=unit, ylabel="return")
    trained = f"{budget / 1e6:g}M steps, {seeds} seed{'s' * (seeds != 1)}"
    axis.set(title=f"{summary['env']}{chr(10) if paper else ', '}{trained}")
    if memories:
        logarithmic(axis)
    else:
        axis.set_xticks(range(summary["protocol"]["steps"] + 1))
    if seeds == 2:
        axis.plot([], [], color="grey", label="one seed", **SEED)
    if summary["methods"] and paper:
        columns = min(3, math.ceil(math.sqrt(len(summary["methods"]))))
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    elif summary["methods"]:
        axis.legend(fontsize=8, frameon=False, bbox_to_anchor=(1, 1))
    for other in beside:
        _draw_scratch(other, summary["scratch"], colours)
    return figure


def _remembers(method: str, run: dict[str, Any]) -> bool:
    """Return whether a memory adapts; older results do not say, but are of methods of ours."""
    if "unit" in run:
        return run["unit"] == "episodes seen"
    return method in METHODS and METHODS[method].remembers


def _episodes_per_step(method: str, run: dict[str, Any]) -> int | None:
    """Return how many episodes of its task a method sees in a step; None of the oracle, which has nothing to see."""
    if method == "oracle":
        return None
    older = 1 if _remembers(method, run) else run.get("protocol", {}).get("episodes")
    return run.get("episodes_per_step", older)


def _draw_scratch(axis: Any, scratch: dict[str, Any], colours: dict[str, str]) -> None:
    axis.plot(scratch["env_steps"], scratch["returns"], color="black", lw=1.2)
    for method, value in scratch["reached"].items():
        axis.axhline(value, color=colours[method], lw=1, ls=":" if method in BASELINES else "-")
    axis.set(xscale="log", xlabel="environment steps in one task", ylabel="return")
    few = scratch["env_steps"][-1] < 30 * scratch["env_steps"][0]
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.minorticks_off()
    axis.set(title=f"PPO from scratch, {len(scratch['tasks'])} tasks\nlines: the methods after one step")


def write_csv(summary: dict[str, Any], file: Path) -> None:
    """Write the adaptation curves of all methods as a table; a step is so many episodes of the task."""
    lines = ["method,step,mean,ci_low,ci_high,episodes_per_step"]
    for method, row in summary["methods"].items():
        per_step = "" if row["episodes_per_step"] is None else row["episodes_per_step"]
        points = zip(row["mean"], row["ci_low"], row["ci_high"], strict=True)
        lines += [",".join(map(str, (method, step, *point, per_step))) for step, point in enumerate(points)]
    write_atomically(file, "\n".join([*lines, ""]).encode())
