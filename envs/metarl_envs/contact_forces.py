"""Contact forces (`cfrc_ext`): what makes MuJoCo compute them, also in the batched simulation."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from metarl_envs.family import Array
from metarl_envs.mujoco_family import Derived

FORCES: Derived = ("cfrc_ext", slice(1, None))
"""Force and torque on each body but the world, `[bodies, 6]`."""


def sense_forces(spec: Any) -> None:
    """Add a force sensor to the root body of a model: MuJoCo's step computes `cfrc_ext` only where a sensor needs it.

    The motion keeps every bit. The forces are those at the beginning of the last physics step; Gymnasium computes
    them once more after it.
    """
    spec.bodies[1].add_site(name="contact_forces")
    kind, where = mujoco.mjtSensor.mjSENS_FORCE, mujoco.mjtObj.mjOBJ_SITE
    spec.add_sensor(name="contact_forces", type=kind, objtype=where, objname="contact_forces")


def limited(forces: Array) -> Array:
    """Return forces and torques within ±1, as the MAML paper's sources charge for and observe them."""
    return np.clip(forces, -1.0, 1.0)
