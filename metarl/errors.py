"""Errors that are the user's to mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple


class UserError(ValueError):
    """Something the user can mend; the message says what, and the command line prints it alone."""


OnNan = Literal["stop", "drop"]
"""What to do where something of a task is not finite: stop the run, or leave the task out of the meta-iteration."""


class Fault(NamedTuple):
    """Something of a task that is not finite."""

    what: str
    """Reward, observation, action, ..."""
    where: str = ""
    """The task itself, and the step."""

    def of(self, task: int) -> str:
        """Return what happened, in words."""
        return f"{self.what} is not finite in task {task}{self.where}"


class NotFinite(FloatingPointError):
    """Something is not finite; the message names the first task, by its index, and the step."""


def stop_at(faults: Mapping[int, Fault]) -> None:
    """Raise `NotFinite` with the first of several tasks, if there is any."""
    if faults:
        task = min(faults)
        raise NotFinite(faults[task].of(task))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean '...'?` with the nearest match, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_positive(**values: float) -> None:
    """Refuse numbers that are not positive and finite."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise UserError(f"{name} must be positive and finite, got {value}")


def check_counts(**counts: tuple[int, int]) -> None:
    """Refuse numbers under their least value, given as name=(value, least)."""
    for name, (value, least) in counts.items():
        if value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
