"""Seconds and memory of one whole meta-iteration, for each preset and method.

Each measurement runs in a process of its own, so that the peak of its memory is its own; presets
and methods take turns, and figures are medians. `times_maml` is an iteration's time over that of MAML
with the same preset, where it is measured too.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import shlex
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import tyro
from common import report

from metarl.experiment.presets import PRESETS, find_preset
from metarl.experiment.settings import with_method
from metarl.experiment.trainer import Trainer
from metarl.methods import METHODS


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure meta-iterations."""

    presets: str = ",".join(PRESETS)
    """Presets, by comma."""
    methods: str = "maml,fomaml,anil"
    """Methods, by comma, or "all"."""
    json: Path | None = None
    """Where to write the rows."""
    horizon: int | None = None
    """Steps an episode, if not the preset's."""
    iterations: int = 3
    """Meta-iterations a measurement, after one that warms up."""
    repeats: int = 1
    """Turns each preset and method gets."""


def measure(preset: str, method: str, horizon: int | None, iterations: int) -> list[dict[str, float]]:
    """Run some meta-iterations; returns what each took."""
    config = with_method(find_preset(preset), method, None)
    trainer = Trainer(dataclasses.replace(config, horizon=horizon or config.horizon))
    trainer.iterate()
    results = []
    for _ in range(iterations):
        before, started = trainer.progress.env_steps, time.perf_counter()
        metrics = trainer.iterate()
        results.append(
            {
                "env_steps": trainer.progress.env_steps - before,
                "sampling_seconds": metrics["time/sampling_seconds"],
                "meta_update_seconds": metrics["time/meta_update_seconds"],
                "iteration_seconds": time.perf_counter() - started,
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    return results


def main() -> None:
    args = tyro.cli(Args)
    methods = list(METHODS) if args.methods == "all" else args.methods.split(",")
    pairs = [(preset, method) for preset in args.presets.split(",") for method in methods]
    results: dict[tuple[str, str], list[dict[str, float]]] = {pair: [] for pair in pairs}
    spawn = multiprocessing.get_context("spawn")
    for _ in range(args.repeats):
        for pair in pairs:
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                results[pair] += pool.submit(measure, *pair, args.horizon, args.iterations).result()
    rows = []
    for (preset, method), measured in results.items():
        medians = {name: statistics.median(m[name] for m in measured) for name in measured[0]}
        rows.append({"preset": preset, "method": method, **medians})
    seconds = {(row["preset"], row["method"]): row["iteration_seconds"] for row in rows}
    for row in rows:
        if maml := seconds.get((row["preset"], "maml")):
            row["times_maml"] = row["iteration_seconds"] / maml
    command = shlex.join(["python", "benchmarks/meta_update.py", *sys.argv[1:]])
    report("One meta-iteration", rows, args.json, command=command)


if __name__ == "__main__":
    main()
