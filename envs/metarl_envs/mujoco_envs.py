"""MuJoCo families as environments: one simulation on `mj_step`, N simulations on `mujoco.batch.Batch`."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import copy
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from gymnasium.utils.seeding import np_random
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_envs.family import Array, env_class
from metarl_envs.mujoco_family import MujocoFamily, quiet, write_fields
from metarl_envs.physics import RandomPhysics
from metarl_envs.rendering import Camera, Frame
from metarl_envs.single import TaskEnv
from metarl_envs.vector import TaskVectorEnv

DIVERGED = [int(kind) for kind in (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL)]
DIVERGED += [int(mujoco.mjtWarning.mjWARN_BADQACC)]
"""Warnings after which MuJoCo has silently reset a simulation in the middle of an episode."""


class MujocoTaskEnv(TaskEnv):
    """One simulation of a MuJoCo family.

    Every MuJoCo family takes the option `physics`, a sequence of `FieldRange`: the task then also
    holds the physics, after the family's own numbers (see `RandomPhysics`).
    """

    family: MujocoFamily

    @property
    def dt(self) -> float:
        """Seconds a control step."""
        return self.family.dt

    def _make_family(self, options: dict[str, Any]) -> MujocoFamily:
        return _make_family(type(self), options)

    def _build(self) -> None:
        self.model = copy.copy(self.family.model)  # its own: the task may change it
        self.data = mujoco.MjData(self.model)
        self._camera: Camera | None = None
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.dt)}

    def _apply(self) -> None:
        if fields := self.family.fields(self.task[None]):
            write_fields(self.model, {name: value[0] for name, value in fields.items()})

    def _begin(self) -> Array:
        start = self.family.initial_state(self.np_random)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = start[: self.model.nq]
        self.data.qvel[:] = start[self.model.nq :]
        mujoco.mj_forward(self.model, self.data)
        return self.family.read(self.data)

    def _move(self, action: Array) -> tuple[Array, bool]:
        self.data.ctrl[:] = self.family.control(action[None], self.task[None])[0]
        with quiet():
            mujoco.mj_step(self.model, self.data, nstep=self.family.frame_skip)
        if any(self.data.warning[kind].number for kind in DIVERGED):
            return self._state, True
        return self.family.read(self.data), False

    def _frame(self) -> Frame:
        if self._camera is None:
            self._camera = Camera(self.model, self.data, self.family.camera, self.render_size)
        return self._camera.frame(self.family.markers(self._state, self.task), self.family.painted(self.task))

    def close(self) -> None:
        """Free the camera."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None


class MujocoTaskVectorEnv(TaskVectorEnv):
    """N simulations of a MuJoCo family on one C++ thread pool, as many threads as this process may use.

    Takes the options of `MujocoTaskEnv`, and `nthread`, the number of threads; the environment variable
    METARL_PHYSICS_THREADS bounds it for processes that share a machine.
    """

    has_physics = True
    family: MujocoFamily

    def __init__(self, num_envs: int = 1, *args: Any, nthread: int | None = None, **options: Any) -> None:
        self._nthread = nthread or available_cpus()
        super().__init__(num_envs, *args, **options)

    def _make_family(self, options: dict[str, Any]) -> MujocoFamily:
        return _make_family(type(self), options)

    def _build(self) -> None:
        model = self.family.model
        self.batch = Batch(model, self.num_envs, self._nthread)
        # the state rows hold time, qpos, qvel, ...: both parts in one live view
        self._live = self.batch.state[:, 1 : 1 + model.nq + model.nv]
        self._ctrl = self.batch.bind("ctrl")
        self._camera: Camera | None = None
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.family.dt)}
        self._rngs: dict[int, np.random.Generator] = defaultdict(np.random.default_rng)
        self._derived = [self.batch.bind(name)[:, rows] for name, rows in self.family.derived]

    def _apply(self) -> None:
        if fields := self.family.fields(self.tasks):
            for name, values in fields.items():
                field = self.batch.expand(name)
                field[...] = values.reshape(field.shape)
            self.batch.set_const()

    def _read(self) -> Array:
        """Return the states of all rows `[N, s]`, as a new array."""
        if not self._derived:
            return self._live.copy()
        derived = [field.reshape(self.num_envs, -1) for field in self._derived]
        return np.concatenate([self._live, *derived], axis=1)

    def _seed(self, rows: NDArray[np.int64], seeds: Sequence[int | None]) -> None:
        for i in rows.tolist():
            self._rngs[i] = np_random(seeds[i])[0]

    def _begin(self, rows: NDArray[np.int64]) -> Array:
        starts = np.stack([self.family.initial_state(self._rngs[i]) for i in rows.tolist()])
        self.batch.reset(rows, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self._live[rows] = starts
        self.batch.forward(rows)
        return self._read()[rows]

    def _move(self, rows: NDArray[np.int64] | None, actions: Array) -> tuple[Array, NDArray[np.bool_] | None]:
        self._ctrl[:] = self.family.control(actions, self.tasks)
        with quiet():
            self.batch.step(rows, nstep=self.family.frame_skip)
        unstable = self.batch.warning[:, DIVERGED, 1].any(axis=1)
        if rows is not None:
            unstable &= np.isin(np.arange(self.num_envs), rows)
        if not unstable.any():
            return self._read(), None
        return np.where(unstable[:, None], self._state, self._read()), unstable

    def _frame(self, row: int) -> Frame:
        if self._camera is None:
            model = copy.copy(self.family.model)
            self._camera = Camera(model, mujoco.MjData(model), self.family.camera, self.render_size)
        model, data = self._camera.model, self._camera.data
        self.batch.get_model(row, model)
        self.batch.get_data(row, data)
        mujoco.mj_forward(model, data)
        task = self.tasks[row]
        return self._camera.frame(self.family.markers(self._state[row], task), self.family.painted(task))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the camera."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None


def make_envs(family: type[MujocoFamily]) -> tuple[type[MujocoTaskEnv], type[MujocoTaskVectorEnv]]:
    """Return the two environment classes of a family, `<Family>Env` and `<Family>VectorEnv`."""
    return env_class(MujocoTaskEnv, family, "Env"), env_class(MujocoTaskVectorEnv, family, "VectorEnv")


def _make_family(env_type: Any, options: dict[str, Any]) -> MujocoFamily:
    options = dict(options)
    physics = options.pop("physics", ())
    family = env_type.family_type(**options)
    return RandomPhysics(family, physics) if physics else family


def available_cpus() -> int:
    """Return how many CPUs this process may use, which in a container is fewer than the machine has.

    Raises:
        ValueError: If METARL_PHYSICS_THREADS is no positive number.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("METARL_PHYSICS_THREADS") or str(cpus)
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ValueError(f"METARL_PHYSICS_THREADS must be 1 or more threads, got {wanted!r}")
    return min(cpus, int(wanted))
