"""Rapid learning or feature reuse? Layers frozen at test time, what adaptation changes in each, ANIL and NIL.

    metarl train glyphs-5way-1shot --keep-checkpoints 30 --log-dir runs/glyphs
    metarl train glyphs-5way-1shot --method anil --log-dir runs/glyphs-anil
    python benchmarks/feature_reuse.py runs/glyphs --anil runs/glyphs-anil --tasks 200 --more 10 --name glyphs

Writes what `metarl analyse RUN --along` finds, summed up, as feature_reuse_NAME.json and .png.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from common import machine, report, versions
from numpy.typing import NDArray

import metarl
from metarl.evaluation import AdaptationCurve
from metarl.experiment.directory import RunDirectory
from metarl.report.analysis import Analysis, analyse, draw_analysis, frozen_name


@dataclasses.dataclass(frozen=True)
class Args:
    """Analyse a run along its training."""

    run: tyro.conf.Positional[Path]
    """Run directory, with the checkpoints along training."""
    name: str
    """Name of the results."""
    anil: Path | None = None
    """Run directory of ANIL under the same settings."""
    tasks: int = 100
    """Held-out tasks."""
    points: int = 10
    """Checkpoints along training, evenly spaced; the last is the one of the table."""
    more: int | None = None
    """Gradient steps of a second table, of the last checkpoint; the first takes as many as training."""
    seed: int = 1
    """Chooses the held-out tasks and their data."""
    results: Path = Path("benchmarks/results")
    """Where to write."""


def spread(curve: AdaptationCurve) -> tuple[float, float]:
    """Return mean and half of the 95 % interval after all steps."""
    mean = float(curve.mean[-1])
    return mean, float(curve.interval[1][-1]) - mean


def rows_of(found: Analysis) -> list[dict[str, Any]]:
    """Return the table: what is reached with the first layers frozen, and how alike each layer stays."""
    rows = []
    for number, curve in enumerate(found.frozen):
        mean, half = spread(curve)
        alike = {"CKA": mean_of(found.cka, number), "CCA": mean_of(found.cca, number)}
        rows.append({"frozen": frozen_name(number), curve.measure: mean, "±": half, "layer": number or "", **alike})
    return rows


def row_of(name: str, found: Analysis, mean: float, half: float) -> dict[str, Any]:
    """Return a row of another method."""
    return {"frozen": name, found.frozen[0].measure: mean, "±": half, "layer": "", "CKA": "", "CCA": ""}


def mean_of(values: NDArray[np.float64], layer: int) -> float | str:
    return float(values[:, layer - 1].mean()) if layer else ""


def point_of(found: Analysis) -> dict[str, Any]:
    """Return the numbers of one checkpoint."""
    return {
        "iteration": found.iteration,
        "before": float(found.frozen[0].mean[0]),
        "frozen": {frozen_name(number): spread(curve)[0] for number, curve in enumerate(found.frozen)},
        "cka": found.cka.mean(0).tolist(),
        "cca": found.cca.mean(0).tolist(),
        "nil": None if found.nil is None else float(found.nil.mean()),
    }


def look(path: Path, args: Args, steps: int | None = None) -> Analysis:
    """Analyse one checkpoint."""
    model = metarl.load(path, best=False)
    try:
        found = analyse(model, steps, tasks=args.tasks, seed=args.seed)
    finally:
        model.close()
    print(f"iteration {found.iteration}: {found.frozen[0].measure} {found.frozen[0].mean[-1]:.3f}", flush=True)
    return found


def main() -> None:
    args = tyro.cli(Args)
    paths = RunDirectory(args.run).checkpoints()
    chosen = np.unique(np.linspace(0, len(paths) - 1, args.points).round().astype(int))
    found = [look(paths[i], args) for i in chosen]
    last = found[-1]
    tables = {last.frozen[0].steps[-1]: rows_of(last)}
    if args.more is not None:
        tables[args.more] = rows_of(look(paths[-1], args, args.more))
    if args.anil is not None:
        for steps, rows in tables.items():
            rows.append(row_of("ANIL", last, *spread(look(args.anil, args, steps).frozen[0])))
    for steps, rows in tables.items():
        if last.nil is not None:
            half = float(1.96 * last.nil.std(ddof=1) / len(last.nil) ** 0.5)
            rows.append(row_of("NIL", last, float(last.nil.mean()), half))
        report(f"{last.title}, {args.tasks} held-out tasks, after {steps} steps", rows, None)
    args.results.mkdir(parents=True, exist_ok=True)
    body = {"command": shlex.join(sys.argv), "machine": machine(), "versions": versions()}
    body |= {"tasks": args.tasks, "after_steps": tables, "along": [point_of(analysis) for analysis in found]}
    out = args.results / f"feature_reuse_{args.name}"
    out.with_suffix(".json").write_text(json.dumps(body, indent=2) + "\n")
    draw_analysis(found).savefig(out.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
