"""Gymnasium's conventions for the seeds, options and infos of vector environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_envs.family import Array


def reset_mask(options: dict[str, Any] | None, num_envs: int) -> NDArray[np.bool_] | None:
    """Return the rows to reset, or None for all.

    Raises:
        ValueError: If the mask is not a bool array `[num_envs]` with a True.
    """
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return None
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        raise ValueError(f"reset_mask must be a bool array of shape ({num_envs},) with a True, got {mask!r}")
    return mask


def row_seeds(seed: int | Sequence[int | None], num_envs: int) -> Sequence[int | None]:
    """Return a seed for each row: those given, or seed + i for row i.

    Raises:
        ValueError: If there are too few or too many.
    """
    if isinstance(seed, int | np.integer):
        return [int(seed) + i for i in range(num_envs)]
    if len(seed) != num_envs:
        raise ValueError(f"expected {num_envs} seeds, one for each simulation; got {len(seed)}")
    return seed.tolist() if isinstance(seed, np.ndarray) else seed


def term_infos(terms: dict[str, Array], active: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the terms in Gymnasium's form: an array for each key, and under `_key` the rows in which it is set."""
    infos: dict[str, Any] = {}
    for name, term in terms.items():
        infos[name] = term
        infos[f"_{name}"] = active.copy()
    return infos


def move_to_final(infos: dict[str, Any], observations: Array, ended: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the infos of a SAME_STEP reset: what belonged to the ended episodes moves under `final_*`."""
    final_obs = np.full(len(ended), None, dtype=object)
    for i in np.flatnonzero(ended):
        final_obs[i] = observations[i]
    final_info = {key: np.where(ended, value, np.zeros_like(value)) for key, value in infos.items()}
    return {
        **{key: np.where(ended, np.zeros_like(value), value) for key, value in infos.items()},
        "final_obs": final_obs,
        "_final_obs": ended.copy(),
        "final_info": final_info,
        "_final_info": ended.copy(),
    }
