"""Scenes in which an object goes into or onto something: peg-insert-side, basketball, shelf-place."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_envs.families.metaworld.rows import Rows
from metarl_envs.families.metaworld.scene import Reader, Scene, move_object
from metarl_envs.families.metaworld.shaping import both, caged, near, norm
from metarl_envs.family import Array

NONE = np.zeros(3)
CORNERS = ("bottom_right_corner_collision_box", "top_left_corner_collision_box")


def lifted(s: Rows, within: float) -> NDArray[np.bool_]:
    """Return where the object is in the open hand and more than 1 cm above its start."""
    held = (norm(s.object - s.tcp) < within) & (s.opened > 0.0)
    return held & (s.object[:, 2] - 0.01 > s.object_start[:, 2])


class PegInsertSide(Scene):
    """Push a peg into the side of a box."""

    name, xml, fixture = "peg-insert-side", "sawyer_peg_insertion_side.xml", "box"
    low, high = (0.0, 0.5, 0.02, -0.35, 0.4, -0.001), (0.2, 0.7, 0.02, -0.25, 0.7, 0.001)
    apart = 0.1

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Put the peg to its place; the target is the hole of the box."""
        head = data.site("pegHead").xpos.copy()
        move_object(model, data, vector[:3])
        return vector[3:] + np.array([0.03, 0.0, 0.13]), vector[:3], head

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show where the peg is to be grasped."""
        return reader.site("pegGrasp"), reader.site_quat("pegGrasp")

    def extra(self, reader: Reader) -> Array:
        """Return the peg's head and the corners of the two boxes below the hole."""
        corners = [reader.site(f"{corner}_{i}") for i in (1, 2) for corner in CORNERS]
        return np.concatenate([reader.site("pegHead"), *corners], axis=1)

    def _away(self, s: Rows, head: Array) -> Array:
        return norm((head - s.target) * np.array([1.0, 2.0, 2.0]))

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward holding the peg with its head near the hole and outside the boxes, and more once it is lifted."""
        head = s.extra[:, :3]
        away = self._away(s, head)
        placed = near(away, 0.07, self._away(s, s.extra_start))
        free = [clear(head, s.extra[:, at : at + 3], s.extra[:, at + 3 : at + 6]) for at in (3, 9)]
        placed = both(placed, both(free[1], free[0]))
        up = lifted(s, 0.08)
        holding = np.where(up, 1.0, caged(s, action, radius=0.0075, reach=0.03, xz=0.005))
        reward = both(holding, placed) + np.where(up, 1.0 + 5.0 * placed, 0.0)
        return np.where(away <= 0.07, 10.0, reward)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the peg's head is in the hole: within 7 cm, y and z counted twice."""
        return self._away(s, s.extra[:, :3]) <= 0.07


def clear(x: Array, zero: Array, one: Array) -> Array:
    """Return 1 outside the box between two corners; inside, the product of the shares of the way from zero to one."""
    low, high = np.minimum(zero, one), np.maximum(zero, one)
    inside = ((x >= low) & (x <= high)).all(axis=1)
    side = np.where(one == zero, 1.0, one - zero)
    return np.where(inside, ((x - zero) / side).prod(axis=1), 1.0)


class Basketball(Scene):
    """Put a ball into a basket."""

    name, xml, fixture = "basketball", "sawyer_basketball.xml", "basket_goal"
    low, high = (-0.1, 0.6, 0.0299, -0.1, 0.85, 0.0), (0.1, 0.7, 0.0301, 0.1, 0.9 + 1e-7, 0.0)
    hand = np.array([0.0, 0.6, 0.2], np.float32)
    apart = 0.15

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Put the ball to its place; the target lies in the hoop, 5 cm above its site."""
        start = np.append(vector[:2], float(np.float32(0.03)))
        move_object(model, data, start)
        hoop = data.site("goal").xpos
        return np.array([hoop[0], hoop[1], 0.3]), start, NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the ball."""
        return reader.body("bsktball"), reader.body_quat("bsktball")

    def _away(self, s: Rows, ball: Array) -> Array:
        return norm((ball - s.target) * np.array([1.0, 1.0, 2.0]))

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward holding the ball near the hoop, and more once it is lifted."""
        away = self._away(s, s.object)
        placed = near(away, 0.08, self._away(s, s.object_start))
        up = lifted(s, 0.035)
        holding = np.where(up, 1.0, caged(s, action, radius=0.025, reach=0.06, xz=0.005))
        reward = both(holding, placed) + np.where(up, 1.0 + 5.0 * placed, 0.0)
        return np.where(away < 0.08, 10.0, reward)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the ball is within 8 cm of the target, z counted twice."""
        return self._away(s, s.object) <= 0.08


class ShelfPlace(Scene):
    """Put an object onto a shelf."""

    name, xml, fixture = "shelf-place", "sawyer_shelf_placing.xml", "shelf"
    low, high = (-0.1, 0.5, 0.019, -0.1, 0.8, 0.299), (0.1, 0.6, 0.021, 0.1, 0.9, 0.301)
    hand = np.array([0.0, 0.6, 0.2], np.float32)
    apart = 0.1

    def fixture_position(self, vector: Array) -> Array:
        """Return where the shelf stands, 30 cm below the task's second position."""
        return vector[3:] - np.array([0.0, 0.0, 0.3])

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Put the object to its place, at the height at which it came to rest."""
        start = np.append(vector[:2], data.body("obj").xpos[2])
        mujoco.mj_forward(model, data)  # as the package: the solver starts from its result
        move_object(model, data, start)
        return model.site("goal").pos + model.body("shelf").pos, start, NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the object."""
        return reader.body("obj"), reader.geom_quat("objGeom")

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward holding the object near the target, and more once it is lifted and not below the shelf."""
        away = norm(s.object - s.target)
        placed = near(away, 0.05, norm(s.object_start - s.target))
        holding = caged(s, action, radius=0.02, reach=0.05, xz=0.01, dense=False)
        reward = both(holding, placed)
        x, y, z = s.object.T
        below = (z > 0.0) & (z < 0.24) & (np.abs(x - s.target[:, 0]) < 0.15)
        deep = (y - (s.target[:, 1] - 0.15)) / 0.15
        lost = both(np.clip(deep, 0.0, 1.0), np.clip((0.24 - z) / 0.24, 0.0, 1.0))
        placed = np.where(below & (deep > 0.0) & (y < s.target[:, 1]), np.clip(placed - lost, 0.0, 1.0), placed)
        placed = np.where(below & (y > s.target[:, 1]), 0.0, placed)
        reward = reward + np.where(lifted(s, 0.025), 1.0 + 5.0 * placed, 0.0)
        return np.where(away < 0.05, 10.0, reward)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the object is within 7 cm of the target."""
        return norm(s.object - s.target) <= 0.07
