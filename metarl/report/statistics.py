"""Means over seeds and tasks, and their bootstrap intervals (Agarwal et al. 2021)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Aggregate = Literal["iqm", "mean"]
"""What becomes of several seeds: the interquartile mean, or the mean."""


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the middle half of all seeds and tasks, `[..., S, K, k] -> [..., k]` (Agarwal et al. 2021)."""
    joined = scores.reshape(*scores.shape[:-3], -1, scores.shape[-1])
    return np.asarray(stats.trim_mean(joined, 0.25, axis=-2))


def stratified_bootstrap(
    scores: NDArray[np.float64], resamples: int = 2000, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % interval of the interquartile mean of scores `[S, K, k]`, `[k]` each.

    With several seeds, each task's seeds are drawn anew (Agarwal et al. 2021, section 4.1); with
    one, the tasks are.
    """
    s, k, _ = scores.shape
    rng = np.random.default_rng(seed)
    if s > 1:
        drawn = scores[rng.integers(s, size=(resamples, s, k)), np.arange(k)]
    else:
        drawn = scores[0][rng.integers(k, size=(resamples, 1, k))]
    low, high = np.percentile(interquartile_mean(drawn), [2.5, 97.5], axis=0)
    return low, high


def over_seeds(
    values: NDArray[np.float64], aggregate: Aggregate = "iqm", resamples: int = 1000, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of curves `[S, n]` over seeds, and the 95 % bootstrap interval of it, `[n]` each.

    The interquartile mean of fewer than four seeds is their mean; with one seed the interval is empty.
    """
    trimmed = 0.25 if aggregate == "iqm" else 0.0
    centre = stats.trim_mean(values, trimmed, axis=0)
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(stats.trim_mean(values[drawn], trimmed, axis=1), [2.5, 97.5], axis=0)
    return centre, low, high
