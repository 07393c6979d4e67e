"""Means over seeds, and their 95 % intervals."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Aggregate = Literal["mean", "iqm"]
"""What becomes of several seeds: the mean, or the interquartile mean."""


def over_seeds(
    values: NDArray[np.float64], aggregate: Aggregate = "mean"
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of curves `[S, n]` over seeds, and the ends of its 95 % interval, `[n]` each.

    A seed is a single draw, however many tasks its policy is judged on: the interval is Student's t of the seeds'
    values, wide for two or three of them. (Resampling each task's seeds by itself, as Agarwal et al. 2021 do for games
    that have runs of their own, would count the tasks of one policy as independent runs.) That of the interquartile
    mean, which of fewer than four seeds is the mean, is Tukey and McLaughlin's of a trimmed mean (1963). With one seed
    the interval is empty.
    """
    trimmed, n = 0.25 if aggregate == "iqm" else 0.0, len(values)
    centre = np.asarray(stats.trim_mean(values, trimmed, axis=0))
    if n < 2:
        return centre, centre, centre
    kept = n - 2 * int(trimmed * n)
    squares = n * np.asarray(stats.mstats.winsorize(values, (trimmed, trimmed), axis=0)).var(0)
    half = stats.t.ppf(0.975, kept - 1) * np.sqrt(squares / (kept * (kept - 1)))
    return centre, centre - half, centre + half
