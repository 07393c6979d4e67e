"""Tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from metarl.evaluation import AdaptationCurve
from metarl.experiment.base_config import Settings
from metarl.experiment.terminal import DIGITS
from metarl.report.analysis import Analysis, frozen_name
from metarl.report.run_figures import time_unit

NARROW = 90
"""Characters of a line that leave no room for everything."""


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
            digits, (low, high) = DIGITS[part.measure], part.interval
            interval = f"{low[step]:.{digits}f} to {high[step]:.{digits}f}"
            cells += [f"{part.mean[step]:.{digits}f}", *[interval] * (not alone)]
        table.add_row(str(step), *cells)
    return table


def analysis_table(found: Analysis) -> Table:
    """Return what is reached with layers frozen, and each layer's similarity before and after adaptation."""
    measure = found.frozen[0].measure
    digits = DIGITS[measure]
    table = Table("frozen layers", measure, "95 % interval", "layer", "CKA", "CCA", title=found.title)
    for number, curve in enumerate(found.frozen):
        low, high = (end[-1] for end in curve.interval)
        alike = [f"{values[:, number - 1].mean():.3f}" if number else "" for values in (found.cka, found.cca)]
        shown = (f"{curve.mean[-1]:.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}")
        table.add_row(frozen_name(number), *shown, str(number or ""), *alike)
    if found.nil is not None:
        table.caption = f"NIL, nearest support features without an inner loop: {found.nil.mean():.{digits}f}"
    return table


def results_table(summary: dict[str, Any], width: int) -> Table:
    """Return the adaptation curves of a benchmark, a row a method: means, ± half of their intervals.

    A narrow terminal has no room for the gain, which is the difference of two of them.
    """
    rows = summary["methods"]
    unit, seconds = time_unit(max(row["seconds"] for row in rows.values()))
    steps = [f"{k} step{'s' * (k != 1)}" for k in range(summary["protocol"]["steps"] + 1)]
    headings = ["method", "episodes\na step", *steps, *["gain"] * (width > NARROW), "trained", unit]
    table = Table()
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in steps, overflow="fold")
    for method, row in rows.items():
        ends = zip(row["mean"], row["ci_low"], row["ci_high"], strict=True)
        curve = [f"{mean:.1f}" + f" ±{(high - low) / 2:.1f}" * (low != high) for mean, low, high in ends]
        per_step, took = row["episodes_per_step"], f"{row['seconds'] / seconds:.1f}"
        gain = [f"{row['gain_step1']:.1f}"] * ("gain" in headings)
        table.add_row(method, str(per_step or ""), *curve, *gain, f"{row['env_steps']:,.0f}", took)
    return table


def show_curve(console: Console, curve: AdaptationCurve, config: Settings, *about: Any) -> None:
    """Print an adaptation curve, with what else `curve_table` is told of it."""
    console.print(curve_table(curve, *about))
    trained = config.method.inner_steps
    if curve.steps[-1] > trained and config.later_lr != 1 and curve.unit == AdaptationCurve.unit:
        console.print(f"(steps beyond {trained} use {config.later_lr:g} times the inner step size)")
