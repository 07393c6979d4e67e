"""Sine waves to be fitted from a few points (Finn et al. 2017, section 5.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.fewshot.shots import Examples, Shots

AMPLITUDES, PHASES, INPUTS = (0.1, 5.0), (0.0, np.pi), (-5.0, 5.0)
"""Ranges of the amplitude A, the phase φ and the input x of y = A sin(x - φ)."""


@dataclass(frozen=True)
class Sinusoids:
    """Tasks y = A sin(x - φ) with A, φ and x uniform in their ranges."""

    shots: int = 10
    """Support examples a task."""
    queries: int = 10
    """Query examples a task."""
    oracle: bool = False
    """Whether the inputs are (x, A, φ), which leaves nothing to adapt to."""

    @property
    def inputs(self) -> int:
        """Size of an input."""
        return 3 if self.oracle else 1

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return amplitudes and phases, `[n, 2]`."""
        low, high = np.transpose((AMPLITUDES, PHASES))
        return rng.uniform(low, high, (n, 2))

    def draw(self, tasks: NDArray[np.float64], rngs: Iterable[np.random.Generator]) -> Shots:
        """Draw support and query examples of tasks `[K, 2]`."""
        number = self.shots + self.queries
        x = np.stack([rng.uniform(*INPUTS, number) for rng in rngs])
        whole = self.batch(tasks, torch.from_numpy(x))
        support, query = (
            Examples(whole.x[:, part], whole.y[:, part]) for part in (slice(self.shots), slice(self.shots, None))
        )
        return Shots(support, query)

    def batch(self, tasks: NDArray[np.float64], x: Tensor) -> Examples:
        """Return the examples of tasks `[K, 2]` at points `[K, N]`, in torch's default precision."""
        amplitude, phase = (torch.from_numpy(tasks[:, i, None]) for i in range(2))
        y = amplitude * torch.sin(x - phase)
        inputs = [x, *(value.expand_as(x) for value in (amplitude, phase))] if self.oracle else [x]
        kind = torch.get_default_dtype()
        return Examples(torch.stack(inputs, -1).to(kind), y.unsqueeze(-1).to(kind))
