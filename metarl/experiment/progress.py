"""Where a training stands, as a checkpoint keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from metarl.errors import UserError


@dataclass
class Progress:
    """Where a training stands, counted from its very beginning."""

    iteration: int = 0
    """Meta-iterations done."""
    env_steps: int = 0
    """Environment steps, or labelled examples, of training."""
    seconds: float = 0.0
    """Wall-clock seconds of training, evaluations not counted."""
    dropped_tasks: int = 0
    """Tasks left out because something in them was not finite."""
    best_return: float = float("-inf")
    """Best score on held-out tasks so far."""

    def as_state(self) -> dict[str, Any]:
        """Return the numbers as a checkpoint takes them."""
        best = self.best_return
        return asdict(self) | {"best_return": None if best == float("-inf") else best}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Progress:
        """Return the numbers of a checkpoint.

        Raises:
            UserError: If they do not say where the run stood.
        """
        try:
            best = float("-inf") if state["best_return"] is None else state["best_return"]
            known: dict[str, Any] = state | {"best_return": best}
            counts: dict[str, Any] = {
                f.name: type(f.default)(known[f.name]) for f in fields(Progress) if f.name in known
            }
            return Progress(**counts)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"the checkpoint does not say where the run stood ({error!r})") from error
