"""Pictures: a MuJoCo model with markers beside it, and plane drawings of the NumPy families."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

WHITE, GREY = (255, 255, 255), (200, 205, 215)
RED, BLUE, GREEN = (225, 60, 40), (40, 100, 210), (60, 160, 80)


def check_render_mode(mode: str | None, modes: Sequence[str], name: str) -> str | None:
    """Return the render mode.

    Raises:
        ValueError: If it is none of those offered.
    """
    if mode is not None and mode not in modes:
        raise ValueError(f"{name}: render_mode={mode!r}; expected None or one of {', '.join(map(repr, modes))}")
    return mode


class Camera:
    """Looks at one simulation; the picture is a square.

    Args:
        model: The model, whose fields may change between pictures.
        data: The simulation.
        settings: Settings of the free camera; without `lookat` it follows the first body.
        size: Side of the picture in pixels.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, settings: dict[str, Any], size: int) -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            os.environ.setdefault("MUJOCO_GL", "egl")  # no screen: render without one
        # imported late: only pictures need OpenGL
        from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

        # MuJoCo's shadow map of 4096² takes most of the time of a software renderer
        model.vis.quality.shadowsize = 1024
        self.model, self.data, self.follow = model, data, "lookat" not in settings
        self.renderer = MujocoRenderer(model, data, settings, width=size, height=size)

    def frame(self, markers: Sequence[dict[str, Any]], painted: Sequence[int] = ()) -> Frame:
        """Return the picture `[size, size, 3]` with the markers in it and some geoms painted red."""
        viewer = self.renderer._get_viewer("rgb_array")
        if self.follow:
            viewer.cam.lookat[:] = self.data.xpos[1]
        for marker in markers:
            viewer.add_marker(**marker)
        colours = self.model.geom_rgba.copy()
        self.model.geom_rgba[list(painted)] = (*(level / 255 for level in RED), 1.0)
        frame = self.renderer.render("rgb_array")
        self.model.geom_rgba[:] = colours
        assert frame is not None
        return np.ascontiguousarray(frame, dtype=np.uint8)

    def close(self) -> None:
        """Free the OpenGL context."""
        self.renderer.close()


class Plane:
    """A white square that shows the part of the plane with abs(x), abs(y) <= extent.

    Args:
        extent: Half the side, in the units of the plane.
        size: Side in pixels.
    """

    def __init__(self, extent: float, size: int) -> None:
        self.frame = np.full((size, size, 3), WHITE, dtype=np.uint8)
        ticks = (np.arange(size) + 0.5) / size * 2.0 * extent - extent
        self.x, self.y = np.meshgrid(ticks, -ticks)
        self.pixel = 2.0 * extent / size

    def disc(self, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        """Fill a disc."""
        self.frame[(self.x - x) ** 2 + (self.y - y) ** 2 <= radius**2] = colour

    def ring(self, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        """Draw a circle, two pixels wide."""
        away = np.sqrt((self.x - x) ** 2 + (self.y - y) ** 2)
        self.frame[np.abs(away - radius) <= self.pixel] = colour

    def box(self, low: tuple[float, float], high: tuple[float, float], colour: tuple[int, int, int]) -> None:
        """Fill a rectangle between two corners."""
        inside = (self.x >= low[0]) & (self.x <= high[0]) & (self.y >= low[1]) & (self.y <= high[1])
        self.frame[inside] = colour
