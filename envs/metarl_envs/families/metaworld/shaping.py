"""The functions out of which Meta-World's rewards are made, on arrays `[N]`.

Source: Yu et al. 2020 (Meta-World) and dm_control's `rewards.py`, whose sigmoids are 0.1 at a distance of one margin.
"""

from __future__ import annotations

import numpy as np

from metarl_envs.families.metaworld.rows import Rows
from metarl_envs.family import Array

XZ = [0, 2]


def norm(x: Array) -> Array:
    """Return the Euclidean norms `[N]` of `[N, 3]`."""
    return np.sqrt(np.einsum("ij,ij->i", x, x))


def near(x: Array, bound: float, margin: Array | float, *, low: float = 0.0, gaussian: bool = False) -> Array:
    """Return 1 where low <= x <= bound, and less the farther away; 0.1 at a distance of `margin`.

    Args:
        x: What is measured, `[N]`.
        bound: Upper end of the interval in which the value is 1.
        margin: Distance from the interval at which the value is 0.1; 0 for a step.
        low: Lower end of the interval.
        gaussian: exp(-d²) instead of the long tail 1 / (d² + 1).
    """
    inside = (x >= low) & (x <= bound)
    margin = np.asarray(margin)
    away = np.where(x < low, low - x, x - bound) / np.where(margin == 0.0, 1.0, margin)
    value = 0.1 ** (away * away) if gaussian else 1.0 / (9.0 * away * away + 1.0)
    return np.where(inside, 1.0, np.where(margin == 0.0, 0.0, value))


def both(a: Array, b: Array) -> Array:
    """Return the Hamacher product ab / (a + b - ab), 0 for two zeros."""
    product = a * b
    total = a + b - product
    return np.where(total > 0.0, product / np.where(total > 0.0, total, 1.0), 0.0)


def closing(action: Array) -> Array:
    """Return how hard the action closes the gripper, in [0, 1]."""
    return np.clip(action[:, 3], 0.0, 1.0)


def caged(s: Rows, action: Array, *, radius: float, reach: float, xz: float, dense: bool = True) -> Array:
    """Return how well the two fingers hold the object: across y with the pads, in x and z with the hand.

    The pads' margins follow the pads' distance from where the object was at the start.

    Args:
        s: The rows.
        action: The actions, `[N, 4]`.
        radius: Of the object, in m: pads closer than this get less.
        reach: Distance of the pads, in m, within which they count as around the object.
        xz: Distance in x and z, in m, within which the hand counts as at the object.
        dense: Whether caging alone already counts one half.
    """
    sides = []
    for pad in (s.left[:, 1], s.right[:, 1]):
        margin = np.abs(np.abs(pad - s.object_start[:, 1]) - reach)
        sides.append(near(np.abs(pad - s.object[:, 1]), reach, margin, low=radius))
    caging = both(both(sides[0], sides[1]), _in_xz(s, xz))
    holding = both(caging, np.where(caging > 0.97, closing(action), 0.0))
    return (holding + caging) / 2.0 if dense else holding


def pinched(s: Rows, *, radius: float, xz: float, tight: float | None = None) -> tuple[Array, Array]:
    """Return how well the pads lie on both sides of the object, and how tightly; margins follow the pads.

    Args:
        s: The rows.
        radius: Of the object, in m.
        xz: Distance in x and z, in m, within which the hand counts as at the object.
        tight: Distance, in m, within which the pads count as touching it; by default 0.05.

    Returns:
        Caging `[N]`, in y and in x and z, and gripping `[N]`, in y alone.
    """
    left, right = s.left[:, 1] - s.object[:, 1], s.object[:, 1] - s.right[:, 1]
    # the package's "initial" pads are views of the current ones
    margins = [np.abs(np.abs(gap) - 0.05) for gap in (left, right)]
    around = both(near(left, 0.05, margins[0], low=radius), near(right, 0.05, margins[1], low=radius))
    caging = both(around, _in_xz(s, xz))
    if tight is None:
        return caging, around
    return caging, both(near(left, tight, margins[0], low=radius), near(right, tight, margins[1], low=radius))


def _in_xz(s: Rows, bound: float) -> Array:
    """Return how near the hand is to the object in x and z, compared with the start."""
    margin = norm(s.object_start[:, XZ] - s.tcp_start[:, XZ]) - bound
    return near(norm(s.tcp[:, XZ] - s.object[:, XZ]), bound, margin)
