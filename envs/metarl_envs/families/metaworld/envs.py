"""Meta-World's scenes as environments: one simulation on `mj_step`, or N on one `mujoco.batch.Batch` a scene."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_envs.families.metaworld.family import MetaWorld
from metarl_envs.families.metaworld.package import assets
from metarl_envs.families.metaworld.rows import SIZE, split
from metarl_envs.families.metaworld.scene import STATE, SUBSTEPS, Reader, Scene, Start, data_reader
from metarl_envs.family import Array, Family
from metarl_envs.mujoco_envs import DIVERGED, available_cpus
from metarl_envs.mujoco_family import quiet
from metarl_envs.rendering import Camera, Frame
from metarl_envs.single import TaskEnv
from metarl_envs.vector import TaskVectorEnv

FPS = 80
"""Control steps a second."""


class MetaWorldTaskEnv(TaskEnv):
    """One simulation; a task takes effect at the next reset."""

    family: MetaWorld

    def __init__(self, task: Array | str | None = None, *args: Any, **options: Any) -> None:
        if isinstance(task, str):  # ML1's class of tasks, not a task
            super().__init__(None, *args, task_class=task, **options)
        else:
            super().__init__(task, *args, **options)

    def _make_family(self, options: dict[str, Any]) -> Family:
        if "task_class" in options:
            options = {"task": options.pop("task_class"), **options}
        return super()._make_family(options)

    def _build(self) -> None:
        assets()  # says what is missing before anything else does
        self.metadata = {**self.metadata, "render_fps": FPS}
        self._simulations: dict[int, tuple[mujoco.MjModel, mujoco.MjData, Reader]] = {}
        self._cameras: dict[int, Camera] = {}
        self._playing = 0

    def _begin(self) -> Array:
        self._playing = int(self.family.scene_of(self.task[None])[0])
        scene, vector = self.family.scenes[self._playing], self.family.vector(self.task)
        if self._playing not in self._simulations:
            model = copy.copy(scene.model)  # its own: the task moves a body
            data = mujoco.MjData(model)
            self._simulations[self._playing] = model, data, data_reader(model, data)
        self.model, self.data, _ = self._simulations[self._playing]
        start = scene.start(vector)
        mujoco.mj_resetData(self.model, self.data)
        if scene.fixture is not None:
            self.model.body_pos[self.model.body(scene.fixture).id] = scene.fixture_position(vector)
        mujoco.mj_setState(self.model, self.data, start.physics, STATE)
        mujoco.mj_fwdPosition(self.model, self.data)  # for pictures; leaves what the next step depends on
        return _row(start, self._playing)

    def _move(self, action: Array) -> tuple[Array, bool]:
        scene, (model, data, reader) = self.family.scenes[self._playing], self._simulations[self._playing]
        state = self._state[None].copy()
        rows = split(state)
        rows.mocap[:] = data.mocap_pos[:] = scene.drive(rows.mocap, action[None])
        data.ctrl[:] = action[3], -action[3]
        with quiet():
            mujoco.mj_step(model, data, nstep=SUBSTEPS)
            mujoco.mj_forward(model, data)
        if any(data.warning[kind].number for kind in DIVERGED):
            return self._state, True
        rows.before[:] = rows.frame
        scene.read(reader, rows)
        return state[0], False

    def _frame(self) -> Frame:
        if self._playing not in self._cameras:
            self._cameras[self._playing] = Camera(self.model, self.data, self.family.camera, self.render_size)
        return self._cameras[self._playing].frame(self.family.markers(self._state))

    def close(self) -> None:
        """Free the cameras."""
        for camera in self._cameras.values():
            camera.close()
        self._cameras = {}


class _Group:
    """The simulations of one scene, in slots of which some may be free.

    Args:
        scene: The scene.
        nthread: Threads of the physics.
    """

    def __init__(self, scene: Scene, nthread: int) -> None:
        self.scene, self.nthread = scene, nthread
        self.rows = np.zeros(0, np.int64)  # the row of the environment that each slot plays, or -1
        self.batch: Batch | None = None

    def _resize(self, size: int) -> None:
        """Make room for more simulations; those that play go on."""
        before, rows = self.batch, self.rows
        self.batch = batch = Batch(self.scene.model, size, self.nthread)
        self.rows = np.full(size, -1)
        self.rows[: len(rows)] = rows
        self.body_pos = None
        if self.scene.fixture is not None:
            self.body_pos = batch.expand("body_pos")[:, self.scene.model.body(self.scene.fixture).id]
        self.mocap, self.ctrl = batch.bind("mocap_pos"), batch.bind("ctrl")
        self.reader = Reader(self.scene.model, batch.bind)
        if before is not None:
            batch.state[: len(rows)] = before.state
            if self.body_pos is not None and self._positions is not None:
                self.body_pos[: len(rows)] = self._positions
        self._positions = self.body_pos
        # binds what the scene reads, so that the first step fills it
        self.scene.read(self.reader, split(np.zeros((size, SIZE))))

    def free(self, rows: NDArray[np.int64]) -> None:
        """Free the slots of these rows."""
        self.rows[np.isin(self.rows, rows)] = -1

    def begin(self, rows: NDArray[np.int64], starts: Sequence[Start], vectors: Sequence[Array]) -> None:
        """Start episodes of these rows, which have no slot yet."""
        missing = len(rows) - int((self.rows < 0).sum())
        if missing > 0:
            self._resize(len(self.rows) + missing)
        assert self.batch is not None
        slots = np.flatnonzero(self.rows < 0)[: len(rows)]
        self.rows[slots] = rows
        self.batch.reset(slots, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        if self.body_pos is not None:
            self.body_pos[slots] = [self.scene.fixture_position(vector) for vector in vectors]
        self.batch.state[slots] = [start.physics for start in starts]

    def move(self, state: Array, actions: Array, running: NDArray[np.bool_], unstable: NDArray[np.bool_]) -> None:
        """Step the running rows, writing their new states and which diverged."""
        slots = np.flatnonzero((self.rows >= 0) & running[self.rows])
        if self.batch is None or not len(slots):
            return
        rows = self.rows[slots]
        part, action = state[rows], actions[rows]
        new = split(part)
        new.mocap[:] = self.scene.drive(new.mocap, action)
        self.mocap[slots, 0] = new.mocap
        self.ctrl[slots] = action[:, 3:] * np.array([1.0, -1.0])
        everything = len(slots) == len(self.rows)
        with quiet():
            self.batch.step(None if everything else slots, nstep=SUBSTEPS, stage=mujoco.mjtStage.mjSTAGE_ACC.value)
        diverged = self.batch.warning[slots][:, DIVERGED, 1].any(axis=1)
        new.before[:] = new.frame
        self.scene.read(self.reader if everything else _some(self.reader, slots), new)
        if diverged.any():
            unstable[rows[diverged]] = True
            rows, part = rows[~diverged], part[~diverged]
        state[rows] = part


class MetaWorldTaskVectorEnv(TaskVectorEnv):
    """N simulations, those of each scene on one C++ thread pool; a task takes effect at the row's next reset.

    Takes `nthread`, the number of threads; the environment variable METARL_PHYSICS_THREADS bounds it.
    """

    family: MetaWorld
    has_physics = True
    tasks_start_at_reset = True

    def __init__(self, num_envs: int = 1, *args: Any, nthread: int | None = None, **options: Any) -> None:
        self._nthread = nthread or available_cpus()
        super().__init__(num_envs, *args, **options)

    def _build(self) -> None:
        assets()
        self.metadata = {**self.metadata, "render_fps": FPS}
        self._groups: dict[int, _Group] = {}
        self._cameras: dict[int, Camera] = {}

    def _seed(self, rows: NDArray[np.int64], seeds: Sequence[int | None]) -> None:
        """Do nothing: a start depends on the task alone."""

    def _begin(self, rows: NDArray[np.int64]) -> Array:
        for group in self._groups.values():
            group.free(rows)
        tasks = self.tasks[rows]
        scenes = self.family.scene_of(tasks)
        vectors = [self.family.vector(task) for task in tasks]
        starts = [self.family.scenes[i].start(vector) for i, vector in zip(scenes.tolist(), vectors, strict=True)]
        for i in np.unique(scenes).tolist():
            at = np.flatnonzero(scenes == i)
            if i not in self._groups:
                self._groups[i] = _Group(self.family.scenes[i], self._nthread)
            self._groups[i].begin(rows[at], [starts[j] for j in at], [vectors[j] for j in at])
        return np.stack([_row(start, i) for start, i in zip(starts, scenes.tolist(), strict=True)])

    def _move(self, rows: NDArray[np.int64] | None, actions: Array) -> tuple[Array, NDArray[np.bool_] | None]:
        running = np.zeros(self.num_envs, np.bool_)
        running[slice(None) if rows is None else rows] = True
        state, unstable = self._state.copy(), np.zeros(self.num_envs, np.bool_)
        for group in self._groups.values():
            group.move(state, actions, running, unstable)
        return state, unstable if unstable.any() else None

    def _frame(self, row: int) -> Frame:
        i = int(split(self._state).scene[row, 0])
        group = self._groups[i]
        assert group.batch is not None
        if i not in self._cameras:
            model = copy.copy(self.family.scenes[i].model)
            self._cameras[i] = Camera(model, mujoco.MjData(model), self.family.camera, self.render_size)
        camera = self._cameras[i]
        slot = int(np.flatnonzero(group.rows == row)[0])
        group.batch.get_model(slot, camera.model)
        group.batch.get_data(slot, camera.data)
        mujoco.mj_forward(camera.model, camera.data)
        return camera.frame(self.family.markers(self._state[row]))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the cameras."""
        for camera in self._cameras.values():
            camera.close()
        self._cameras = {}


def _row(start: Start, scene: int) -> Array:
    row = start.row.copy()
    split(row[None]).scene[:] = scene
    return row


def _some(reader: Reader, slots: NDArray[np.int64]) -> Reader:
    """Return a reader of some simulations."""
    return Reader(reader.model, lambda name: reader.field(name)[slots])
