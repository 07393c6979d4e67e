"""What a run depends on, and what has changed of it since."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from metarl.seeding import RANDOM_NUMBERS

PACKAGES = ("metarl-toolkit", "torch", "gymnasium", "mujoco", "stable-baselines3", "numpy")


def versions() -> dict[str, str | None]:
    """Return the versions of what a run depends on."""
    return {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()}


def _version(package: str) -> str | None:
    """Return a package's version; None for ourselves where we run from a checkout that is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """Return the commit of the code in use, if it lies in a repository."""
    try:
        found = subprocess.run(
            ["git", "-C", os.path.dirname(__file__), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def other_version(record: dict[str, Any]) -> str | None:
    """Return the version of metarl that `config.json` records, if it is not this one."""
    recorded = record.get("versions")
    before = recorded.get(PACKAGES[0]) if isinstance(recorded, dict) else None
    return before if isinstance(before, str) and before != _version(PACKAGES[0]) else None


def compare(record: dict[str, Any]) -> list[str]:
    """Return in what this installation differs from the one that `config.json` records, in sentences."""
    before, now = record.get("versions"), versions()
    before = before if isinstance(before, dict) else {}
    others = [f"{name} {before[name]} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    notes = [f"versions differ: {', '.join(others)}; results may differ by rounding"] if others else []
    drawn = record.get("random_numbers", 1)
    if drawn != RANDOM_NUMBERS:
        notes.append(
            f"this version draws other random numbers ({drawn} -> {RANDOM_NUMBERS}): "
            "the run goes on, but not as if it had never stopped"
        )
    return notes
