"""Tables for the terminal."""

from __future__ import annotations

from itertools import chain
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from metarl.evaluation import AdaptationCurve
from metarl.experiment.base_config import Settings
from metarl.experiment.terminal import digits
from metarl.report.analysis import Analysis, frozen_name
from metarl.report.run_figures import time_unit

UNBOUNDED = 10_000
"""Characters of a line that everything has room in."""


def curve_table(curve: AdaptationCurve, kind: str = "held-out ", seeds: int = 1, tasks: int | None = None) -> Table:
    """Return an adaptation curve, a row for each number of steps.

    Args:
        curve: The curve; of several seeds, that over them.
        kind: Of which kind the tasks are, for the title.
        seeds: How many seeds.
        tasks: How many tasks each; by default as many as the curve has rows.
    """
    tasks = len(curve.per_task) if tasks is None else tasks
    shown = [curve] if curve.of_success is None else [curve, curve.of_success]
    alone = len(curve.per_task) == 1  # then there is no interval
    headings = [heading for part in shown for heading in (part.measure, *["95 % interval"] * (not alone))]
    about = "1 task" if tasks == 1 else f"{tasks} {kind}tasks"
    about += f", means over {seeds} seeds" * (seeds > 1)
    table = Table(curve.unit, *headings, title=f"{curve.env}\n{about}")
    for step in curve.steps:
        cells = []
        for part in shown:
            places, (low, high) = digits(part.measure, part.mean), part.interval
            interval = f"{low[step]:.{places}f} to {high[step]:.{places}f}"
            cells += [f"{part.mean[step]:.{places}f}", *[interval] * (not alone)]
        table.add_row(str(step), *cells)
    return table


def analysis_table(found: Analysis) -> Table:
    """Return what is reached with layers frozen, and each layer's similarity before and after adaptation."""
    measure = found.frozen[0].measure
    places = digits(measure, [curve.mean[-1] for curve in found.frozen])
    table = Table("frozen layers", measure, "95 % interval", "layer", "CKA", "CCA", title=found.title)
    for number, curve in enumerate(found.frozen):
        low, high = (end[-1] for end in curve.interval)
        alike = [f"{values[:, number - 1].mean():.3f}" if number else "" for values in (found.cka, found.cca)]
        shown = (f"{curve.mean[-1]:.{places}f}", f"{low:.{places}f} to {high:.{places}f}")
        table.add_row(frozen_name(number), *shown, str(number or ""), *alike)
    if found.nil is not None:
        table.caption = f"NIL, nearest support features without an inner loop: {found.nil.mean():.{places}f}"
    return table


def results_table(summary: dict[str, Any], console: Console) -> Table:
    """Return the adaptation curves of a benchmark, means ± half of their intervals, as wide as the terminal allows.

    A row is a method where that fits, with what one step gains; else a step of a method.
    """
    rows = summary["methods"]
    unit, seconds = time_unit(max(row["seconds"] for row in rows.values()))
    places = digits("return", chain.from_iterable(row["mean"] for row in rows.values()))
    curves, cost = {}, {}
    for method, row in rows.items():
        ends = zip(row["mean"], row["ci_low"], row["ci_high"], strict=True)
        curves[method] = [
            f"{mean:.{places}f}" + f" ±{(high - low) / 2:.{places}f}" * (low != high) for mean, low, high in ends
        ]
        cost[method] = [f"{row['env_steps']:,.0f}", f"{row['seconds'] / seconds:.1f}"]
    headings = [f"{k} step{'s' * (k != 1)}" for k in range(summary["protocol"]["steps"] + 1)]
    wide = Table("method", "episodes\na step", *headings, "gain", "trained", unit)
    for method, row in rows.items():
        first = [method, str(row["episodes_per_step"] or ""), *curves[method]]
        wide.add_row(*first, f"{row['gain_step1']:.{places}f}", *cost[method])
    if console.measure(wide, options=console.options.update_width(UNBOUNDED)).maximum <= console.width:
        return wide
    long = Table(
        Column("method", overflow="fold"), "episodes\na step", "steps", Column("return", no_wrap=True), "trained", unit
    )
    for method, row in rows.items():
        long.add_section()
        for step, reached in enumerate(curves[method]):
            first = [method, str(row["episodes_per_step"] or "")] if step == 0 else ["", ""]
            long.add_row(*first, str(step), reached, *(cost[method] if step == 0 else ["", ""]))
    return long


def show_curve(console: Console, curve: AdaptationCurve, config: Settings, *about: Any) -> None:
    """Print an adaptation curve, with what else `curve_table` is told of it."""
    console.print(curve_table(curve, *about))
    trained = config.method.inner_steps
    if curve.steps[-1] > trained and config.later_lr != 1 and curve.unit == AdaptationCurve.unit:
        console.print(f"(steps beyond {trained} use {config.later_lr:g} times the inner step size)")
