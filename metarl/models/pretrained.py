"""Policies that come with the package, each with a card that says what it is and does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metarl.errors import UserError, did_you_mean

FOLDER = Path(__file__).parents[1] / "pretrained"
"""`NAME.safetensors` and `NAME.json`, written by benchmarks/pretrained.py."""

PREFIX = "pretrained:"
"""What a name begins with where a path could stand."""


def cards() -> dict[str, dict[str, Any]]:
    """Return the cards by name: env, method, environment steps, command, versions and adaptation curve."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}


def find_pretrained(name: str) -> Path:
    """Return the file of a pretrained policy.

    Raises:
        UserError: If there is none of that name.
    """
    known = cards()
    if name not in known:
        raise UserError(f"no pretrained policy {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    return FOLDER / f"{name}.safetensors"
