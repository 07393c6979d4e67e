"""What the benchmarks share: the machine's description, the table, the JSON file."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.table import Column, Table

PACKAGES = ("metarl-toolkit", "torch", "numpy", "gymnasium", "mujoco", "stable-baselines3", "envpool", "ray")


def machine() -> dict[str, Any]:
    """Describe the machine."""
    return {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "system": platform.platform(terse=True)}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def report(title: str, rows: list[dict[str, Any]], file: Path | None, **more: Any) -> None:
    """Print the rows as a table, and write them with machine, versions and what else there is to a JSON file."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[name.replace("_", " ") for name in names]]
    lines += [[_shown(row.get(name, "")) for name in names] for row in rows]
    if len(rows) < len(names):  # more than a terminal is wide: a column for each row
        lines = [list(line) for line in zip(*lines, strict=True)]
    table = Table(*(Column(name, overflow="fold") for name in lines[0]), title=title)
    for line in lines[1:]:
        table.add_row(*line)
    Console(width=None if Console().is_terminal else 140).print(table)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        body = {"machine": machine(), "versions": versions(), **more, "rows": rows}
        file.write_text(json.dumps(body, indent=2) + "\n")


def draw(space: gymnasium.Space, steps: int, n: int) -> np.ndarray:
    """Draw actions `[steps, n, ...]`."""
    rng = np.random.default_rng(0)
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=(steps, n))
    assert isinstance(space, gymnasium.spaces.Box)
    noise = 0.1 * rng.standard_normal((steps, n, *space.shape))
    return np.clip(noise, space.low, space.high).astype(space.dtype)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
