"""Dead actuators: what the crippled half-cheetah and the crippled ant share."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from metarl_envs.family import Array


def actuators_without(action: Array, dead: Array) -> Array:
    """Return the actions `[N, a]` with those of the dead actuators `[N, k]` at zero."""
    # a comparison per dead actuator keeps the result a plain elementwise product
    alive = np.ones_like(action)
    for column in dead.T:
        alive *= np.arange(action.shape[1]) != column[:, None]
    return action * alive


def geoms_moved_by(model: mujoco.MjModel, actuators: Sequence[int]) -> list[int]:
    """Return the geoms of the bodies whose joints the actuators drive."""
    bodies = model.jnt_bodyid[model.actuator_trnid[list(actuators), 0]]
    return np.flatnonzero(np.isin(model.geom_bodyid, bodies)).tolist()


def check_drawn(drawn: Sequence[int], n: int, name: str) -> Array:
    """Return the indices among which tasks are drawn, as floats.

    Raises:
        ValueError: If there is none or one is not in 0, ..., n - 1.
    """
    if not len(drawn) or not set(drawn) <= set(range(n)):
        raise ValueError(f"{name}: drawn={tuple(drawn)}; expected some of 0..{n - 1}")
    return np.array(drawn, dtype=np.float64)
