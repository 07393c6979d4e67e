"""Long runs and environments made again and again hold no more than at the beginning (benchmarks/soak.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def soak(iterations, cycles, file, stages=10):
    sizes = {"iterations": iterations, "cycles": cycles, "stages": stages, "json": file}
    options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, str(SOAK), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    return {stage: [row for row in rows if row["stage"] == stage] for stage in ("iterations", "environments")}


def assert_flat(rows, megabytes):
    """From the middle on nothing grows; before, libraries load what they need once."""
    later = rows[len(rows) // 2 :]
    for name in ("open_files", "threads", "children"):
        assert len({row[name] for row in later}) == 1, (name, rows)
    assert later[-1]["memory_mib"] < later[0]["memory_mib"] + megabytes, rows


def test_nothing_leaks(tmp_path):
    measured = soak(30, 15, tmp_path / "soak.json", stages=5)
    assert_flat(measured["iterations"], 15)
    assert_flat(measured["environments"], 15)


@pytest.mark.slow
def test_nothing_leaks_in_2000_iterations_and_500_environments(tmp_path, observe):
    measured = soak(2000, 500, tmp_path / "soak.json")
    for stage, rows in measured.items():
        assert_flat(rows, 10)
        first, last = rows[len(rows) // 2], rows[-1]
        kept = f"open files {last['open_files']}, threads {last['threads']}, children {last['children']}"
        memory = f"{first['memory_mib']} -> {last['memory_mib']} MiB"
        observe(f"{last['done']} {stage}", f"from the middle to the end: {memory}, {kept}")
