"""All methods under one budget of environment steps, on held-out tasks: tables, JSON and pictures.

    python benchmarks/methods.py --presets half-cheetah-dir --tasks 10 --episodes 10 --budget 2000000 --seeds 3

Under a small budget smaller batches than the presets' learn more: there are more updates. What has
been run already (in `--runs`) is not run again.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import sys
from pathlib import Path

import tyro
from common import machine, report, versions

from metarl.experiment.presets import PRESETS, find_preset
from metarl.methods import METHODS
from metarl.report.benchmark import Protocol, benchmark
from metarl.report.comparison import BASELINES


@dataclasses.dataclass(frozen=True)
class Args:
    """Compare the methods."""

    presets: str = ",".join(PRESETS)
    """Presets, by comma."""
    methods: str = ",".join([*METHODS, *BASELINES])
    """Methods and baselines, by comma."""
    budget: int = 2_000_000
    """Environment steps each run may train."""
    seeds: int = 3
    """Seeds."""
    tasks: int | None = None
    """Tasks a meta-iteration; by default the preset's."""
    episodes: int | None = None
    """Episodes a task and step; by default the preset's."""
    runs: Path = Path("runs/methods")
    """Where the runs are."""
    results: Path = Path("benchmarks/results")
    """Where JSON and pictures are written."""


def main() -> None:
    """Run and report."""
    args = tyro.cli(Args)
    for preset in args.presets.split(","):
        out = args.runs / preset
        changes = {name: value for name in ("tasks", "episodes") if (value := getattr(args, name)) is not None}
        config = dataclasses.replace(find_preset(preset), **changes)
        summary = benchmark(config, args.methods.split(","), args.seeds, Protocol(args.budget), out)
        rows = []
        for method, row in summary["methods"].items():
            points = enumerate(zip(row["mean"], row["ci_low"], row["ci_high"], strict=True))
            curve = {f"step {k}": f"{value:.1f} ({low:.1f}, {high:.1f})" for k, (value, low, high) in points}
            rows.append({"method": method, **curve, "env steps": row["env_steps"], "seconds": row["seconds"]})
        report(f"{preset}, means and 95 % intervals", rows, None)
        args.results.mkdir(parents=True, exist_ok=True)
        body = {"command": shlex.join(sys.argv), "machine": machine(), "versions": versions(), **summary}
        (args.results / f"methods-{preset}.json").write_text(json.dumps(body, indent=2) + "\n")
        shutil.copyfile(out / "curves.png", args.results / f"methods-{preset}.png")


if __name__ == "__main__":
    main()
