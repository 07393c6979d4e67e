"""Means of a few values, and their 95 % intervals."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Aggregate = Literal["mean", "iqm"]
"""What becomes of several seeds: the mean, or the interquartile mean."""


def mean_and_interval(
    values: NDArray[np.float64], aggregate: Aggregate = "mean"
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of curves `[S, n]` over seeds or tasks, and the ends of its 95 % interval, `[n]` each.

    A seed is a single draw, however many tasks its policy is judged on: the interval is Student's t of the seeds'
    values, wide for two or three of them. (Resampling each task's seeds by itself, as Agarwal et al. 2021 do for games
    that have runs of their own, would count the tasks of one policy as independent runs.) That of the interquartile
    mean, which of fewer than four seeds is the mean, is Tukey and McLaughlin's of a trimmed mean (1963). With one seed
    the interval is empty. What is not a number in a seed is none in the mean.
    """
    n = len(values)
    cut = n // 4 if aggregate == "iqm" else 0
    kept = n - 2 * cut
    ordered = np.where(np.isnan(values).any(0), np.nan, np.sort(values, axis=0))
    middle = ordered[cut : n - cut]
    centre = middle.mean(0)
    if n < 2:
        return centre, centre, centre
    from scipy.special import stdtrit  # here: it takes long to import, and an evaluation alone needs none

    ordered[:cut], ordered[n - cut :] = middle[0], middle[-1]  # winsorised
    half = stdtrit(kept - 1, 0.975) * np.sqrt(n * ordered.var(0) / (kept * (kept - 1)))
    return centre, centre - half, centre + half
