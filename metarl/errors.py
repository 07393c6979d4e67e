"""Errors that are the user's to mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can mend; the message says what, and the command line prints it alone."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean '...'?` with the nearest match, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_counts(**counts: tuple[int, int]) -> None:
    """Refuse numbers under their least value, given as name=(value, least)."""
    for name, (value, least) in counts.items():
        if value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
