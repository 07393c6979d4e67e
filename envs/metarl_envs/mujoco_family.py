"""What every MuJoCo family shares: its model, the layout of its state rows, its start."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium.envs.mujoco
import mujoco
import numpy as np
from gymnasium import spaces

from metarl_envs.family import Array, Family

ASSETS = Path(gymnasium.envs.mujoco.__file__).parent / "assets"
"""Gymnasium's MuJoCo models."""

Derived = tuple[str, slice]
"""A field that MuJoCo computes from the state (`cvel`, ...) and the rows of it that a family needs."""


class MujocoFamily(Family):
    """A family on a MuJoCo model; a state is `qpos`, `qvel` and the derived fields side by side, `[N, s]`.

    As in Gymnasium's MuJoCo environments, derived fields are those of the last but one physics step.

    Args:
        model: The compiled model.
        frame_skip: Physics steps a control step.
        reset_noise_scale: Range of the uniform noise on `qpos`, and scale of the noise on `qvel`.
        gaussian_velocity: Whether the noise on `qvel` is Gaussian, else uniform.
        derived: Derived fields to append to the state rows, each flattened.
    """

    camera: dict[str, Any] = {"distance": 4.0}  # noqa: RUF012 - Gymnasium's own form
    """Settings of the free camera that renders the family."""

    def __init__(
        self,
        model: mujoco.MjModel,
        frame_skip: int,
        reset_noise_scale: float = 0.1,
        gaussian_velocity: bool = True,
        derived: Sequence[Derived] = (),
    ) -> None:
        self.model = model
        self.frame_skip = frame_skip
        self.dt = float(model.opt.timestep) * frame_skip
        self.reset_noise_scale = reset_noise_scale
        self.gaussian_velocity = gaussian_velocity
        self.derived = tuple(derived)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        self.default_state = np.concatenate([data.qpos, data.qvel])
        low, high = model.actuator_ctrlrange.astype(np.float32).T
        self.action_space = spaces.Box(low, high, dtype=np.float32)
        observation = self.observe(self.read(data)[None])[0]
        self.observation_space = spaces.Box(-np.inf, np.inf, observation.shape, np.float64)

    def initial_state(self, rng: np.random.Generator) -> Array:
        """Draw the start of one episode: noise around the default pose, in Gymnasium's order; `[nq + nv]`."""
        scale = self.reset_noise_scale
        position = rng.uniform(-scale, scale, size=self.model.nq)
        if self.gaussian_velocity:
            velocity = scale * rng.standard_normal(self.model.nv)
        else:
            velocity = rng.uniform(-scale, scale, size=self.model.nv)
        return self.default_state + np.concatenate([position, velocity])

    def read(self, data: mujoco.MjData) -> Array:
        """Return the state row of one simulation, `[s]`."""
        derived = [np.ravel(getattr(data, name)[rows]) for name, rows in self.derived]
        return np.concatenate([data.qpos, data.qvel, *derived])

    def control(self, action: Array, task: Array) -> Array:
        """Return what the actuators receive, `[N, nu]`; by default the actions."""
        return action

    def control_cost(self, action: Array, weight: float) -> Array:
        """Return the weighted squared norm of the actions, clipped to the action space, `[N]`."""
        assert isinstance(self.action_space, spaces.Box)
        clipped = np.clip(action, self.action_space.low, self.action_space.high)
        return weight * np.sum(np.square(clipped), axis=-1)

    def velocity(self, state: Array, next_state: Array, axis: int = 0) -> Array:
        """Return the mean velocity of the root along the axis over the step, in m/s, `[N]`."""
        return (next_state[:, axis] - state[:, axis]) / self.dt

    def fields(self, task: Array) -> dict[str, Array]:
        """Return the model fields `[N, ...]` that the tasks `[N, d]` change; by default none."""
        return {}

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Return what to draw beside the model for one state `[s]` and task `[d]`, in Gymnasium's `add_marker` form."""
        return []

    def painted(self, task: Array) -> list[int]:
        """Return the geoms that a picture paints red for one task `[d]`; by default none."""
        return []


def load_model(xml: str | Path, *edits: Callable[[Any], None]) -> mujoco.MjModel:
    """Compile a model from Gymnasium's assets (by file name) or from a path, without a word to the user.

    `settotalmass`, which MuJoCo 4 deprecates with a warning at every load, is applied after compiling.

    Args:
        xml: File name or path.
        *edits: Functions that change the model's `MjSpec` before it is compiled.

    Raises:
        ValueError: If the file does not exist or does not compile.
    """
    path = Path(xml) if os.path.sep in str(xml) else ASSETS / xml
    if not path.exists():
        raise ValueError(f"model file {str(path)!r} does not exist")
    with quiet():
        try:
            spec = mujoco.MjSpec.from_file(str(path))
            total_mass, spec.compiler.settotalmass = spec.compiler.settotalmass, -1
            for edit in edits:
                edit(spec)
            model = spec.compile()
        except ValueError as error:
            raise ValueError(f"model file {str(path)!r} does not compile: {error}") from error
    if total_mass > 0:
        mujoco.mj_setTotalmass(model, total_mass)
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def check_body(body: str, name: str) -> None:
    """Refuse a body that a family with two does not have.

    Raises:
        ValueError: If it is neither "gymnasium" nor "paper".
    """
    if body not in ("gymnasium", "paper"):
        raise ValueError(f"{name}: body={body!r}; expected 'gymnasium' or 'paper'")


def write_fields(model: mujoco.MjModel, fields: dict[str, Array]) -> None:
    """Write one simulation's fields (`opt.<name>` for options) and the constants that follow from them."""
    for name, value in fields.items():
        owner, attribute = (model.opt, name[4:]) if name.startswith("opt.") else (model, name)
        current = getattr(owner, attribute)
        if isinstance(current, np.ndarray):
            current[...] = value
        else:
            setattr(owner, attribute, float(value))
    mujoco.mj_setConst(model, mujoco.MjData(model))


class _Quiet:
    """What MuJoCo logged to before it was silenced, and by how many threads it is."""

    lock = threading.Lock()
    depth = 0
    before: Any = None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MuJoCo's warnings off the terminal and out of MUJOCO_LOG.TXT; the counters tell us of divergence.

    They are one setting of the process, which comes back when the last thread is done.
    """
    if not hasattr(mujoco, "MjLogConfig"):  # before MuJoCo 4
        yield
        return
    with _Quiet.lock:
        if not _Quiet.depth:
            _Quiet.before, silent = mujoco.MjLogConfig.get(), mujoco.MjLogConfig.get()
            silent.logto_console = silent.logto_file = False
            silent.set()
        _Quiet.depth += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.depth -= 1
            if not _Quiet.depth:
                _Quiet.before.set()
