"""A scene: one of Meta-World's task classes, with its model, its start and its reward on arrays `[N, ...]`."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_envs.families.metaworld.package import load_scene
from metarl_envs.families.metaworld.rows import FRAME, SIZE, Rows, split
from metarl_envs.family import Array
from metarl_envs.mujoco_family import quiet

SUBSTEPS = 5
"""Physics steps a control step."""

SETTLING = 50
"""Control steps for which the hand moves to its place before an episode."""

STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
"""All that the next physics step depends on."""


class Reader:
    """Looks up named positions in the fields of N simulations.

    Args:
        model: The scene's model.
        field: Returns a field of `MjData` by name, `[N, ...]`.
    """

    def __init__(self, model: mujoco.MjModel, field: Callable[[str], Array]) -> None:
        self.model, self.field = model, field
        self._ids: dict[tuple[str, str], int] = {}

    def _id(self, kind: str, name: str) -> int:
        if (kind, name) not in self._ids:
            self._ids[kind, name] = getattr(self.model, kind)(name).id
        return self._ids[kind, name]

    def body(self, name: str) -> Array:
        """Return a body's positions, `[N, 3]`."""
        return self.field("xpos")[:, self._id("body", name)]

    def body_quat(self, name: str) -> Array:
        """Return a body's quaternions, w first, `[N, 4]`."""
        return self.field("xquat")[:, self._id("body", name)]

    def site(self, name: str) -> Array:
        """Return a site's positions, `[N, 3]`."""
        return self.field("site_xpos")[:, self._id("site", name)]

    def site_quat(self, name: str) -> Array:
        """Return a site's quaternions, w last, `[N, 4]`."""
        return quaternion(self.field("site_xmat")[:, self._id("site", name)])

    def geom(self, name: str) -> Array:
        """Return a geom's positions, `[N, 3]`."""
        return self.field("geom_xpos")[:, self._id("geom", name)]

    def geom_quat(self, name: str) -> Array:
        """Return a geom's quaternions, w last, `[N, 4]`."""
        return quaternion(self.field("geom_xmat")[:, self._id("geom", name)])

    def joint(self, name: str) -> Array:
        """Return a joint's angle or position, `[N, 1]`."""
        return self.field("qpos")[:, [self.model.jnt_qposadr[self._id("joint", name)]]]


@dataclass(frozen=True)
class Start:
    """How an episode begins."""

    physics: Array
    """The whole state of the simulation, `mjSTATE_INTEGRATION`."""
    row: Array
    """The state row, `[s]`."""


class Scene(ABC):
    """One of Meta-World's task classes.

    The hand is driven by a mocap body that an action moves by up to 1 cm along each axis; the gripper's two
    fingers receive the action's last number. An episode starts where the hand has settled at `hand`, always in
    the same way, so that a start depends on the task alone.
    """

    name: ClassVar[str]
    """The package's name, without its version."""
    xml: ClassVar[str]
    """File of the model."""
    low: ClassVar[tuple[float, ...]]
    """Lower ends of the random numbers that make a task."""
    high: ClassVar[tuple[float, ...]]
    """Upper ends."""
    hand: ClassVar[NDArray] = np.array([0.0, 0.6, 0.2])
    """Where the hand starts; in single precision where the package has it so."""
    apart: ClassVar[float] = 0.0
    """Least distance, in x and y, of the object from the target."""
    mocap_low: ClassVar[tuple[float, float, float]] = (-0.5, 0.4, 0.05)
    """How far the mocap body may go."""
    mocap_high: ClassVar[tuple[float, float, float]] = (0.5, 1.0, 0.5)
    """How far the mocap body may go."""
    fixture: ClassVar[str | None] = None
    """The body that the task puts somewhere: a door, a drawer, a box."""

    def __init__(self) -> None:
        self._cached_start = lru_cache(maxsize=1000)(self._start)

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled model, never changed."""
        return load_scene(self.xml)

    # -- tasks -----------------------------------------------------------------------------------

    def accepts(self, vector: Array) -> bool:
        """Return whether object and target lie far enough apart."""
        return self.apart == 0.0 or float(np.linalg.norm(vector[:2] - vector[3:5])) >= self.apart

    def fixture_position(self, vector: Array) -> Array:
        """Return where the task puts the fixture, `[3]`."""
        return vector[-3:]

    # -- start -----------------------------------------------------------------------------------

    @abstractmethod
    def arrange(self, model: mujoco.MjModel, data: mujoco.MjData, vector: Array) -> tuple[Array, Array, Array]:
        """Put the objects where the task wants them, once the hand has settled.

        Returns:
            Target, start of the object and `extra_start`, `[3]` each.
        """

    def start(self, vector: Array) -> Start:
        """Return the start of the episodes of one task, computed once."""
        return self._cached_start(vector.tobytes())

    def _start(self, vector_bytes: bytes) -> Start:
        vector = np.frombuffer(vector_bytes)
        model = self.model
        if self.fixture is not None:
            model = self.with_fixture(vector)
        data = mujoco.MjData(model)
        reader = data_reader(model, data)
        with quiet():
            for _ in range(SETTLING):
                data.mocap_pos[0] = self.hand
                data.mocap_quat[0] = (1.0, 0.0, 1.0, 0.0)
                data.ctrl[:] = (-1.0, 1.0)
                mujoco.mj_step(model, data, nstep=SUBSTEPS)
        tcp = centre(reader)[0]
        target, object_start, extra = self.arrange(model, data, vector)
        physics = np.zeros(mujoco.mj_stateSize(model, STATE))
        mujoco.mj_getState(model, data, physics, STATE)
        state = np.zeros((1, SIZE))
        row = split(state)
        self.read(reader, row)
        row.before[:] = row.frame
        row.mocap[:], row.target[:], row.object_start[:] = data.mocap_pos, target, object_start
        row.tcp_start[:], row.extra_start[:] = tcp, extra
        return Start(physics, state[0])

    def with_fixture(self, vector: Array) -> mujoco.MjModel:
        """Return a copy of the model in which the fixture is where the task puts it."""
        model = copy.copy(self.model)
        model.body_pos[model.body(self.fixture).id] = self.fixture_position(vector)
        return model

    # -- every step ------------------------------------------------------------------------------

    @abstractmethod
    def object(self, reader: Reader) -> tuple[Array, Array]:
        """Return the object's positions `[N, 3]` and quaternions `[N, 4]`, as the observation shows them."""

    def extra(self, reader: Reader) -> Array | None:
        """Return what else the reward needs, `[N, up to 15]`."""
        return None

    def read(self, reader: Reader, rows: Rows) -> None:
        """Write what the simulations show now into the rows."""
        n = len(rows.frame)
        frame = rows.frame
        position, quat = self.object(reader)
        fingers = reader.body("rightclaw") - reader.body("leftclaw")
        frame[:, :3] = reader.body("hand")
        # the fingers are at most about 10 cm apart
        frame[:, 3] = np.clip(np.sqrt((fingers * fingers).sum(1)) / 0.1, 0.0, 1.0)
        frame[:, 4:7], frame[:, 7:11], frame[:, 11:FRAME] = position, quat, 0.0
        rows.tcp[:] = centre(reader)
        rows.left[:], rows.right[:] = reader.body("leftpad"), reader.body("rightpad")
        extra = self.extra(reader)
        if extra is not None:
            rows.extra[:n, : extra.shape[1]] = extra

    @abstractmethod
    def reward(self, s: Rows, action: Array) -> Array:
        """Return the rewards `[N]`, in [0, 10]."""

    @abstractmethod
    def success(self, s: Rows) -> NDArray[np.bool_]:
        """Return where the task is solved, `[N]`."""

    def drive(self, mocap: Array, action: Array) -> Array:
        """Return where the actions move the mocap bodies, `[N, 3]`."""
        return np.clip(mocap + np.clip(action[:, :3], -1.0, 1.0) * 0.01, self.mocap_low, self.mocap_high)


def data_reader(model: mujoco.MjModel, data: mujoco.MjData) -> Reader:
    """Return a reader of one simulation."""
    return Reader(model, lambda name: getattr(data, name)[None])


def centre(reader: Reader) -> Array:
    """Return the centre between the fingertips, `[N, 3]`."""
    return (reader.site("rightEndEffector") + reader.site("leftEndEffector")) / 2.0


def move_object(model: mujoco.MjModel, data: mujoco.MjData, position: Array) -> None:
    """Put the free object, which comes after the arm's and fingers' 9 joints, to a position and at rest."""
    data.qpos[9:12] = position
    data.qvel[9:15] = 0.0
    mujoco.mj_forward(model, data)


def quaternion(matrix: Array) -> Array:
    """Return the quaternions `[N, 4]`, w last, of rotation matrices `[N, 9]`, by their largest component.

    The sign is the one that makes this component positive (Markley 2008, "Unit quaternion from rotation matrix").
    """
    m = matrix.reshape(-1, 3, 3)
    n = np.arange(len(m))
    diagonal = np.einsum("nii->ni", m)
    trace = diagonal.sum(1)
    largest = np.argmax(np.concatenate([diagonal, trace[:, None]], axis=1), axis=1)
    skew = np.stack([m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], axis=1)
    quat = np.concatenate([skew, 1.0 + trace[:, None]], axis=1)
    i = np.minimum(largest, 2)
    other = np.zeros_like(quat)
    other[:, :3] = m[n, :, i] + m[n, i, :]
    other[n, i] = 1.0 - trace + 2.0 * diagonal[n, i]
    other[:, 3] = skew[n, i]
    quat = np.where((largest == 3)[:, None], quat, other)
    return quat / np.sqrt((quat * quat).sum(1, keepdims=True))
