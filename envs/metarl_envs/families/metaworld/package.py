"""What we take from the installed `metaworld` package: its models and meshes, none of its code."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import mujoco

from metarl_envs.mujoco_family import load_model

VERSION = "3.1.1"
"""The version whose models and rewards ours are."""

INSTALL = f"pip install --no-deps metaworld=={VERSION}"
"""How to get it; its own dependencies pin an older MuJoCo."""


def assets() -> Path:
    """Return the folder of the package's models.

    Raises:
        ValueError: If the package is not installed, is another version or lacks its models.
    """
    try:
        found = importlib.metadata.version("metaworld")
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(f"Meta-World's models are in a package that is not installed: {INSTALL}") from None
    if found != VERSION:
        raise ValueError(f"metaworld {found} is installed, expected {VERSION}: {INSTALL}")
    spec = importlib.util.find_spec("metaworld")  # finds the package without running it
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "assets" / "sawyer_xyz"
    if not folder.is_dir():
        raise ValueError(f"metaworld {found} lacks its models, expected {folder}: {INSTALL} --force-reinstall")
    return folder


def load_scene(xml: str) -> mujoco.MjModel:
    """Compile one of the package's models, set the welds that pull the hand to the mocap body, and hide its goal.

    Raises:
        ValueError: As `assets`, or if the model does not compile.
    """
    model = load_model(assets() / xml)
    set_welds(model)
    for i in range(model.nsite):
        if model.site(i).name == "goal":  # pictures mark the goal where the task puts it
            model.site_rgba[i, 3] = 0.0
    return model


def set_welds(model: mujoco.MjModel) -> None:
    """Let each weld hold the two bodies' frames together, with a torque scale of 5.

    The package writes the 11 numbers that MuJoCo 3.3 has; since then there is a twelfth, which has to be 0
    (anything else asks `mj_setConst` to compute the relative pose anew).
    """
    for i in range(model.neq):
        if model.eq_type[i] == mujoco.mjtEq.mjEQ_WELD:
            model.eq_data[i] = 0.0
            model.eq_data[i, 6] = -1.0
            model.eq_data[i, 10] = 5.0
