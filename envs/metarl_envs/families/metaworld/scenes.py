"""All scenes by name, and the sets of ML10."""

from __future__ import annotations

import difflib
from functools import cache

from metarl_envs.families.metaworld.fixtures import (
    ButtonPressTopdown,
    DoorClose,
    DoorOpen,
    DrawerClose,
    DrawerOpen,
    LeverPull,
    WindowOpen,
)
from metarl_envs.families.metaworld.objects import PickPlace, Push, Reach, Sweep, SweepInto
from metarl_envs.families.metaworld.placing import Basketball, PegInsertSide, ShelfPlace
from metarl_envs.families.metaworld.scene import Scene

ML10_TRAIN: tuple[type[Scene], ...] = (
    Reach,
    Push,
    PickPlace,
    DoorOpen,
    DrawerClose,
    ButtonPressTopdown,
    PegInsertSide,
    WindowOpen,
    Sweep,
    Basketball,
)
"""The classes on which ML10 trains, in the package's order."""

ML10_TEST: tuple[type[Scene], ...] = (DrawerOpen, DoorClose, ShelfPlace, SweepInto, LeverPull)
"""The classes on which ML10 tests."""

SCENES: dict[str, type[Scene]] = {scene.name: scene for scene in (*ML10_TRAIN, *ML10_TEST)}
"""Every scene by name."""


@cache
def shared(kind: type[Scene]) -> Scene:
    """Return the one instance of a scene in this process, with its model and its starts."""
    return kind()


def find_scene(name: str) -> Scene:
    """Return the scene of this name, with or without the package's `-v3`.

    Raises:
        ValueError: If there is none; names the nearest.
    """
    key = name.removesuffix("-v3")
    if key not in SCENES:
        near = difflib.get_close_matches(key, SCENES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"MetaWorldML1: unknown task {name!r}{hint} It takes one of {', '.join(SCENES)}")
    return shared(SCENES[key])
