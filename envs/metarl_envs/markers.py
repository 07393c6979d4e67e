"""What a picture of a MuJoCo family shows beside the model: goals, directions, target velocities."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

RED = np.array([0.9, 0.15, 0.1, 1.0], dtype=np.float32)


def ball(x: float, y: float, z: float, radius: float = 0.2) -> dict[str, Any]:
    """Return a ball, all lengths in m."""
    size = np.full(3, radius)
    return {"type": mujoco.mjtGeom.mjGEOM_SPHERE, "pos": np.array([x, y, z]), "size": size, "rgba": RED}


def arrow(start: Sequence[float] | np.ndarray, dx: float, dy: float = 0.0, above: float = 0.5) -> dict[str, Any]:
    """Return a horizontal arrow `above` m over a point; (dx, dy) is its direction and length in m."""
    length = max(float(np.hypot(dx, dy)), 1e-3)
    ahead = np.array([dx, dy, 0.0]) / length
    up = np.array([0.0, 0.0, 1.0])
    # MuJoCo's arrows point along the third axis of their frame
    frame = np.stack([np.cross(up, ahead), up, ahead], axis=1)
    pos = np.asarray(start, dtype=np.float64) + above * up
    size = np.array([0.04, 0.04, 2.0 * length])
    return {"type": mujoco.mjtGeom.mjGEOM_ARROW, "pos": pos, "size": size, "mat": frame.ravel(), "rgba": RED}
