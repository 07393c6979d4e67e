"""Sums of vectors that are exact, so that neither their order nor their grouping shows in a bit.

Each number is cut into three pieces on fixed grids, and pieces on one grid add without rounding in float64. This is
reproducible summation with bins known in advance (Demmel & Nguyen 2013, section 3, for bins found from the data).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MOST = 2**14
"""Vectors that add up exactly, at most."""
LARGEST = 2.0**46
"""Numbers beyond it count as not finite: no loss or gradient of use is that large."""

_GRIDS = (2.0**8, 2.0**-32, 2.0**-72)  # MOST halves of a grid fill less than 53 bits of the next finer one


def zeros(like: Tensor) -> Tensor:
    """Return the sum of no vectors shaped `[P]`, as `[3, P]`."""
    return torch.zeros(len(_GRIDS), *like.shape, dtype=torch.float64)


def total(vectors: Tensor) -> Tensor:
    """Return the exact sum of vectors `[K, P]` as three pieces of each number, `[3, P]` in float64.

    What is smaller than 2⁻⁷³ is lost, the same in every order.
    """
    vectors = vectors.detach().cpu()
    pieces = torch.zeros(len(_GRIDS), *vectors.shape[1:], dtype=torch.float64)
    largest = float(vectors.abs().max()) if vectors.numel() else 0.0  # NaN where one is
    used = list(zip(pieces, _GRIDS, strict=True))[largest < _GRIDS[0] / 2 :]  # the coarsest piece of small ones is 0
    for vector in vectors:  # one at a time: it stays in the cache
        rest = vector.to(torch.float64, copy=True)
        if not largest <= LARGEST:
            rest = torch.where(rest.abs() <= LARGEST, rest, torch.nan)
        for piece, grid in used:
            on_grid = (rest + 1.5 * 2**52 * grid).sub_(1.5 * 2**52 * grid)  # rounds to a multiple of the grid
            piece += on_grid
            rest -= on_grid
    return pieces


def merged(sums: Iterable[Tensor]) -> Tensor:
    """Return the sum `[3, P]` of several such sums."""
    return torch.stack(list(sums)).sum(0)


def value(pieces: Tensor) -> Tensor:
    """Return the numbers that the pieces `[3, P]` stand for, `[P]` in float64, rounded twice."""
    high, middle, low = pieces
    return high + (middle + low)
