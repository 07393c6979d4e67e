"""Tables for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from metarl.evaluation import AdaptationCurve
from metarl.experiment.base_config import Settings
from metarl.experiment.terminal import DIGITS
from metarl.report.analysis import Analysis, frozen_name


def curve_table(curve: AdaptationCurve, kind: str = "held-out ") -> Table:
    """Return an adaptation curve, a row for each number of steps; its title says of which kind the tasks are."""
    shown = [curve] if curve.of_success is None else [curve, curve.of_success]
    alone = len(curve.per_task) == 1  # then there is no interval over tasks
    headings = [heading for part in shown for heading in (part.measure, *["95 % interval"] * (not alone))]
    tasks = "1 task" if alone else f"{len(curve.per_task)} {kind}tasks"
    table = Table(curve.unit, *headings, title=f"{curve.env}\n{tasks}")
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


def show_curve(console: Console, curve: AdaptationCurve, config: Settings, kind: str = "held-out ") -> None:
    """Print an adaptation curve, of tasks of a kind."""
    console.print(curve_table(curve, kind))
    trained = config.method.inner_steps
    if curve.steps[-1] > trained and config.later_lr != 1 and curve.unit == AdaptationCurve.unit:
        console.print(f"(steps beyond {trained} use {config.later_lr:g} times the inner step size)")
