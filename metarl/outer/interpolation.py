"""A step towards where adaptation leads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.errors import UserError, check_fields, check_positive
from metarl.outer.objective import State


@dataclass(frozen=True)
class Interpolation:
    """The outer update θ + ε (W - θ), with ε falling linearly to 0."""

    step_size: float = 1.0
    """Step size ε of the outer update, to begin with."""
    decay_iterations: int = 0
    """Meta-iterations after which ε has fallen to 0; 0 keeps it constant."""

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self)
        check_positive(step_size=self.step_size)
        if self.decay_iterations < 0:
            raise UserError(f"decay_iterations must be 0 or more, got {self.decay_iterations}")

    def at(self, iteration: float) -> float:
        """Return ε in a meta-iteration."""
        remaining = 1 - iteration / self.decay_iterations if self.decay_iterations else 1.0
        return self.step_size * max(remaining, 0.0)

    def initial_state(self, params: Tensor) -> State:
        """Return the count of updates."""
        return {"t": torch.zeros((), dtype=torch.float64)}
