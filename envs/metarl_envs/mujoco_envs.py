"""MuJoCo families: a single environment on `mj_step`, and N simulations on `mujoco.batch.Batch`."""

# the compiled mujoco module has no stubs:
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium.envs.mujoco
import mujoco
import numpy as np
from gymnasium import spaces
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_envs.family import Array, Family
from metarl_envs.single import TaskEnv
from metarl_envs.vector import TaskVectorEnv

ASSETS = Path(gymnasium.envs.mujoco.__file__).parent / "assets"
"""Gymnasium's MuJoCo models."""

DIVERGED = [int(kind) for kind in (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL)]
DIVERGED += [int(mujoco.mjtWarning.mjWARN_BADQACC)]
"""Warnings after which MuJoCo has silently reset a simulation in the middle of an episode."""


class MujocoFamily(Family):
    """A family on a MuJoCo model; a state is `qpos` and `qvel` side by side, `[N, nq + nv]`.

    Args:
        model: The compiled model.
        frame_skip: Physics steps a control step.
    """

    def __init__(self, model: mujoco.MjModel, frame_skip: int) -> None:
        self.model = model
        self.frame_skip = frame_skip
        self.dt = float(model.opt.timestep) * frame_skip
        data = mujoco.MjData(model)
        self.default_state = np.concatenate([data.qpos, data.qvel])
        low, high = model.actuator_ctrlrange.astype(np.float32).T
        self.action_space = spaces.Box(low, high, dtype=np.float32)
        observation = self.observe(self.default_state[None])[0]
        self.observation_space = spaces.Box(-np.inf, np.inf, observation.shape, np.float64)

    @abstractmethod
    def initial_state(self, rng: np.random.Generator) -> Array:
        """Draw `qpos` and `qvel` of the start, `[nq + nv]`."""


class MujocoTaskEnv(TaskEnv):
    """One simulation of a MuJoCo family."""

    family: MujocoFamily

    def __init__(self, task: Array | None = None, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(task, render_mode, **options)
        self.model = self.family.model
        self.data = mujoco.MjData(self.model)

    @property
    def dt(self) -> float:
        """Seconds a control step."""
        return self.family.dt

    def _place(self) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self._state[: self.model.nq]
        self.data.qvel[:] = self._state[self.model.nq :]
        mujoco.mj_forward(self.model, self.data)

    def _move(self, action: Array) -> tuple[Array, bool]:
        self.data.ctrl[:] = action
        with quiet():
            mujoco.mj_step(self.model, self.data, nstep=self.family.frame_skip)
        if any(self.data.warning[kind].number for kind in DIVERGED):
            return self._state, True
        return np.concatenate([self.data.qpos, self.data.qvel]), False


class MujocoTaskVectorEnv(TaskVectorEnv):
    """N simulations of a MuJoCo family on one C++ thread pool, as many threads as this process may use."""

    family: MujocoFamily

    def __init__(self, num_envs: int = 1, *args: Any, nthread: int | None = None, **options: Any) -> None:
        super().__init__(num_envs, *args, **options)
        self.batch = Batch(self.family.model, num_envs, nthread or available_cpus())
        # the state rows hold time, qpos, qvel, ...: both parts in one live view
        model = self.family.model
        self._live = self.batch.state[:, 1 : 1 + model.nq + model.nv]
        self._ctrl = self.batch.bind("ctrl")

    def _place(self, rows: NDArray[np.int64]) -> None:
        self.batch.reset(rows, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self._live[rows] = self._state[rows]
        self.batch.forward(rows)

    def _move(self, rows: NDArray[np.int64] | None, actions: Array) -> tuple[Array, NDArray[np.bool_] | None]:
        self._ctrl[:] = actions
        with quiet():
            self.batch.step(rows, nstep=self.family.frame_skip)
        unstable = self.batch.warning[:, DIVERGED, 1].any(axis=1)
        if rows is not None:
            unstable &= np.isin(np.arange(self.num_envs), rows)
        if not unstable.any():
            return self._live.copy(), None
        return np.where(unstable[:, None], self._state, self._live), unstable


def load_model(xml: str | Path) -> mujoco.MjModel:
    """Compile a model from Gymnasium's assets (by file name) or from a path, without a word to the user.

    `settotalmass`, which MuJoCo 4 deprecates with a warning at every load, is applied after compiling.

    Raises:
        ValueError: If the file does not exist or does not compile.
    """
    path = Path(xml) if os.path.sep in str(xml) else ASSETS / xml
    if not path.exists():
        raise ValueError(f"model file {str(path)!r} does not exist")
    spec = mujoco.MjSpec.from_file(str(path))
    total_mass, spec.compiler.settotalmass = spec.compiler.settotalmass, -1
    model = spec.compile()
    if total_mass > 0:
        mujoco.mj_setTotalmass(model, total_mass)
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def available_cpus() -> int:
    """Return how many CPUs this process may use, which in a container is fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MuJoCo's warnings off the terminal and out of MUJOCO_LOG.TXT; the counters tell us of divergence."""
    if not hasattr(mujoco, "MjLogConfig"):  # before MuJoCo 4
        yield
        return
    before, silent = mujoco.MjLogConfig.get(), mujoco.MjLogConfig.get()
    silent.logto_console = silent.logto_file = False
    silent.set()
    try:
        yield
    finally:
        before.set()
