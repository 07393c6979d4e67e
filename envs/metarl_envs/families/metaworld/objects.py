"""Scenes with an object on the table: reach, push, pick-place, sweep, sweep-into."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_envs.families.metaworld.rows import Rows
from metarl_envs.families.metaworld.scene import Reader, Scene, move_object
from metarl_envs.families.metaworld.shaping import both, caged, closing, near, norm, pinched
from metarl_envs.family import Array

NONE = np.zeros(3)


class Reach(Scene):
    """Move the hand to a place in the air."""

    name, xml = "reach", "sawyer_reach_v3.xml"
    low, high = (-0.1, 0.6, 0.02, -0.1, 0.8, 0.05), (0.1, 0.7, 0.02, 0.1, 0.9, 0.3)
    apart = 0.15

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Put the object, which does not matter, to its place."""
        move_object(model, data, vector[:3])
        return vector[3:], vector[:3], NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the object."""
        return reader.body("obj"), reader.geom_quat("objGeom")

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward nearness to the target."""
        return 10.0 * near(norm(s.tcp - s.target), 0.05, norm(self.hand - s.target))

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the hand is within 5 cm of the target."""
        return norm(s.tcp - s.target) <= 0.05


class Push(Reach):
    """Push the object to a place on the table."""

    name, xml = "push", "sawyer_push_v3.xml"
    low, high = (-0.1, 0.6, 0.02, -0.1, 0.8, 0.01), (0.1, 0.7, 0.02, 0.1, 0.9, 0.02)

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Put the object to its place; object and target have the height at which it came to rest."""
        height = data.body("obj").xpos[2]
        start, target = np.append(vector[:2], height), np.append(vector[3:5], height)
        move_object(model, data, start)
        return target, start, NONE

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward holding the object, and once it is held its nearness to the target."""
        away = norm(s.object - s.target)
        placed = near(away, 0.05, norm(s.object_start - s.target))
        reward = 2.0 * caged(s, action, radius=0.015, reach=0.05, xz=0.005)
        held = (norm(s.object - s.tcp) < 0.02) & (s.opened > 0.0)
        reward = np.where(held, 2.0 * reward + 1.0 + 5.0 * placed, reward)
        return np.where(away < 0.05, 10.0, reward)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the object is within 5 cm of the target."""
        return norm(s.object - s.target) <= 0.05


class PickPlace(Reach):
    """Lift the object to a place in the air."""

    name, xml = "pick-place", "sawyer_pick_place_v3.xml"

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward holding the object near the target, and more once it is lifted."""
        away = norm(s.object - s.target)
        placed = near(away, 0.05, norm(s.object_start - s.target))
        caging, _ = pinched(s, radius=0.015, xz=0.005)
        holding = (both(caging, np.where(caging > 0.97, closing(action), 0.0)) + caging) / 2.0
        lifted = (norm(s.object - s.tcp) < 0.02) & (s.opened > 0.0)
        lifted &= s.object[:, 2] - 0.01 > s.object_start[:, 2]
        reward = both(holding, placed) + np.where(lifted, 1.0 + 5.0 * placed, 0.0)
        return np.where(away < 0.05, 10.0, reward)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the object is within 7 cm of the target."""
        return norm(s.object - s.target) <= 0.07


class Sweep(Scene):
    """Sweep the object off the table, to the right."""

    name, xml = "sweep", "sawyer_sweep_v3.xml"
    low, high = (-0.1, 0.6, 0.02), (0.1, 0.7, 0.02)
    tight, xz = 0.03, 0.005

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Put the object to its place; the target lies straight to the right of it."""
        start = np.array([vector[0], vector[1], 0.02])
        move_object(model, data, start)
        return np.array([0.5, vector[1], 0.01]), start, NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the object."""
        return reader.body("obj"), reader.body_quat("obj")

    def goal(self, s: Rows) -> Array:
        """Return the targets, `[N, 3]`."""
        return s.target

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward holding the object, and holding it near the target."""
        target = self.goal(s)
        away = norm(s.object - target)
        placed = near(away, 0.05, norm(s.object_start - target))
        caging, gripping = pinched(s, radius=0.02, xz=self.xz, tight=self.tight)
        holding = (caging + np.where(caging > 0.95, gripping, 0.0)) / 2.0
        return np.where(away < 0.05, 10.0, 2.0 * holding + 6.0 * both(holding, placed))

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the object is within 5 cm of the target."""
        return norm(s.object - self.goal(s)) <= 0.05


class SweepInto(Sweep):
    """Sweep the object into a hole in the table."""

    name, xml = "sweep-into", "sawyer_table_with_hole.xml"
    low, high = (-0.1, 0.6, 0.02, -0.001, 0.8399, 0.0199), (0.1, 0.7, 0.02, 0.001, 0.8401, 0.0201)
    tight, xz = 0.025, 0.01
    hole = np.array([0.0, 0.84, 0.02])

    def accepts(self, vector: Array) -> bool:
        """Return whether the object is at least 15 cm from the hole."""
        return float(np.linalg.norm(vector[:2] - self.hole[:2])) >= 0.15

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Put the object to its place, at the height at which it came to rest."""
        start = np.append(vector[:2], data.body("obj").xpos[2])
        move_object(model, data, start)
        return self.hole, start, NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the object."""
        return reader.body("obj"), reader.geom_quat("objGeom")

    def goal(self, s: Rows) -> Array:
        """Return the hole at the object's height: how deep it has fallen does not count."""
        return np.concatenate([s.target[:, :2], s.object[:, 2:]], axis=1)
