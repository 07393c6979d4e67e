"""Scenes with something fixed to the table: doors, drawers, a button, a window, a lever."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_envs.families.metaworld.rows import Rows
from metarl_envs.families.metaworld.scene import Reader, Scene
from metarl_envs.families.metaworld.shaping import both, closing, near, norm
from metarl_envs.family import Array

NONE = np.zeros(3)


class DoorOpen(Scene):
    """Pull a door open by its handle."""

    name, xml, fixture = "door-open", "sawyer_door_pull.xml", "door"
    low, high = (0.0, 0.85, 0.15), (0.1, 0.95, 0.15)
    angle, to_target = 0.0, np.array([-0.3, -0.45, 0.0])

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Turn the door to the angle at which it starts."""
        data.joint("doorjoint").qpos = self.angle
        data.joint("doorjoint").qvel = 0.0
        mujoco.mj_forward(model, data)
        return vector + self.to_target, vector, NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the handle."""
        return reader.geom("handle"), reader.geom_quat("handle")

    def extra(self, reader: Reader) -> Array:
        """Return the door's angle; negative is open."""
        return reader.joint("doorjoint")

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward the hand at the handle, from above and open, and the door's angle."""
        door = s.object - np.array([0.05, 0.0, 0.0])
        radius = norm((s.hand - door) * np.array([1.0, 1.0, 0.0]))
        # a funnel around the handle, above which the hand should stay
        floor = np.where(radius <= 0.12, 0.0, 0.04 * np.log(np.maximum(radius - 0.12, 1e-300)) + 0.4)
        height = s.hand[:, 2]
        above = np.where(height >= floor, 1.0, near(floor - height, 0.01, floor / 2.0))
        ready = both(above, near(norm(s.hand - door - np.array([0.05, 0.03, -0.01])), 0.06, 0.5))
        angle = s.extra[:, 0]
        opened = 0.2 * (angle < -np.pi / 90.0) + 0.8 * near(np.pi * 2.0 / 3.0 + angle, 0.5, np.pi / 3.0)
        grab = (np.clip(action[:, 3], -1.0, 1.0) + 1.0) / 2.0
        return np.where(self.success(s), 10.0, 2.0 * both(ready, grab) + 8.0 * opened)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the handle's x is within 8 cm of the target's."""
        return np.abs(s.object[:, 0] - s.target[:, 0]) <= 0.08


class DoorClose(DoorOpen):
    """Push an open door shut."""

    name = "door-close"
    hand = np.array([-0.5, 0.6, 0.2], np.float32)
    angle, to_target = -1.5708, np.array([0.2, -0.2, 0.0])

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward the handle and the hand near the target."""
        away = norm(s.object - s.target)
        placed = near(away, 0.05, norm(s.object_start - s.target), gaussian=True)
        hand_margin = norm(self.hand - s.object) + 0.1
        hand_placed = near(norm(s.tcp - s.target), 0.0125, hand_margin, gaussian=True)
        return np.where(away < 0.05, 10.0, 3.0 * hand_placed + 6.0 * placed)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the handle is within 8 cm of the target."""
        return norm(s.object - s.target) <= 0.08


class DrawerOpen(Scene):
    """Pull a drawer open."""

    name, xml, fixture = "drawer-open", "sawyer_drawer.xml", "drawer"
    low, high = (-0.1, 0.9, 0.0), (0.1, 0.9, 0.0)
    hand = np.array([0.0, 0.6, 0.2], np.float32)

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Leave the drawer shut; the target is its handle when it is 20 cm open."""
        return vector + np.array([0.0, -0.36, 0.09]), vector, NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the handle."""
        return reader.body("drawer_link") + np.array([0.0, -0.16, 0.0]), reader.body_quat("drawer_link")

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward the hand at the handle, x and y counted three times, and the opening."""
        scale = np.array([3.0, 3.0, 1.0])
        opening = near(norm(s.object - s.target), 0.02, 0.2)
        start = s.target + np.array([0.0, 0.2, 0.0])
        caging = near(norm((s.object - s.hand) * scale), 0.01, norm((start - s.tcp_start) * scale))
        return 5.0 * (caging + opening)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the handle is within 3 cm of the target."""
        return norm(s.object - s.target) <= 0.03


class DrawerClose(Scene):
    """Push an open drawer shut."""

    name, xml, fixture = "drawer-close", "sawyer_drawer.xml", "drawer"
    low, high = (-0.1, 0.9, 0.0), (0.1, 0.9, 0.0)
    hand = np.array([0.0, 0.6, 0.2], np.float32)
    handle = np.array([0.0, -0.16, 0.05])

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Pull the drawer 15 cm out."""
        data.qpos[9] = -0.15
        mujoco.mj_forward(model, data)
        return vector + np.array([0.0, -0.16, 0.09]), data.body("drawer_link").xpos + self.handle, NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the handle."""
        position = reader.body("drawer_link") + self.handle
        return position, np.zeros((len(position), 4))

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward the closed hand at the handle, and the handle at the target."""
        margin = np.abs(norm(s.object_start - s.target) - 0.05)
        placed = near(norm(s.object - s.target), 0.05, margin)
        margin = np.abs(norm(s.object_start - s.tcp_start) - 0.005)
        reached = both(near(norm(s.object - s.tcp), 0.005, margin, gaussian=True), closing(action))
        return 10.0 * np.where(self.success(s), 1.0, both(reached, placed))

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the handle is within 6.5 cm of the target."""
        return norm(s.object - s.target) <= 0.05 + 0.015


class ButtonPressTopdown(Scene):
    """Press a button from above."""

    name, xml, fixture = "button-press-topdown", "sawyer_button_press_topdown.xml", "box"
    low, high = (-0.1, 0.8, 0.115), (0.1, 0.9, 0.115)
    hand = np.array([0.0, 0.4, 0.2], np.float32)

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Note how far the button has to go."""
        mujoco.mj_forward(model, data)
        hole = data.site("hole").xpos.copy()
        return hole, vector, np.array([abs(hole[2] - data.site("buttonStart").xpos[2]), 0.0, 0.0])

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the top of the button."""
        return reader.body("button") + np.array([0.0, 0.0, 0.193]), reader.body_quat("button")

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward the closed hand at the button, and once it is there how far the button is pressed."""
        away = norm(s.object - s.tcp)
        at_button = near(away, 0.01, norm(s.object - s.tcp_start))
        pressed = near(np.abs(s.target[:, 2] - s.object[:, 2]), 0.005, s.extra_start[:, 0])
        return 5.0 * both(1.0 - s.opened, at_button) + np.where(away <= 0.03, 5.0 * pressed, 0.0)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the button is within 2.4 cm of its end."""
        return np.abs(s.target[:, 2] - s.object[:, 2]) <= 0.024


class WindowOpen(Scene):
    """Slide a window open."""

    name, xml, fixture = "window-open", "sawyer_window_horizontal.xml", "window"
    low, high = (-0.1, 0.7, 0.16), (0.1, 0.9, 0.16)
    hand = np.array([0.0, 0.4, 0.2], np.float32)

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Shut the window."""
        handle = data.site("handleOpenStart").xpos.copy()
        data.joint("window_slide").qpos = 0.0
        return vector + np.array([0.2, 0.0, 0.0]), vector, handle

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the handle."""
        position = reader.site("handleOpenStart")
        return position, np.zeros((len(position), 4))

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward the hand at the handle and the handle's x at the target's."""
        margin = np.abs(np.abs(s.object_start[:, 0] - s.target[:, 0]) - 0.05)
        placed = near(np.abs(s.object[:, 0] - s.target[:, 0]), 0.05, margin)
        margin = np.abs(norm(s.extra_start - s.tcp_start) - 0.02)
        return 10.0 * both(near(norm(s.object - s.tcp), 0.02, margin), placed)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the handle's x is within 5 cm of the target's."""
        return np.abs(s.object[:, 0] - s.target[:, 0]) <= 0.05


class LeverPull(Scene):
    """Pull a lever up."""

    name, xml, fixture = "lever-pull", "sawyer_lever_pull.xml", "lever"
    low, high = (-0.1, 0.7, 0.0), (0.1, 0.8, 0.0)
    hand = np.array([0.0, 0.4, 0.2], np.float32)
    mocap_low = (-0.5, 0.4, -0.15)

    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Note where the lever's end lies and where it is when it points up."""
        return vector + np.array([0.12, 0.0, 0.45]), vector + np.array([0.12, -0.2, 0.25]), NONE

    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Show the lever's end."""
        return reader.site("leverStart"), reader.geom_quat("objGeom")

    def extra(self, reader: Reader) -> Array:
        """Return the lever's angle; -π/2 points up."""
        return reader.joint("LeverAxis")

    def reward(self, s: Rows, action: Array) -> Array:
        """Reward the robot's wrist below the lever, and the lever's end near the target."""
        scale, offset = np.array([4.0, 1.0, 4.0]), np.array([0.0, 0.055, 0.07])
        margin = norm((s.tcp_start + offset - s.object_start) * scale)
        ready = near(norm((s.hand + offset - s.object) * scale), 0.02, margin)
        placed = near(norm(s.object - s.target), 0.04, norm(s.object_start - s.target))
        return 10.0 * both(ready, placed)

    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the lever is within 7.5° of pointing up."""
        return np.abs(-s.extra[:, 0] - np.pi / 2.0) <= np.pi / 24.0
