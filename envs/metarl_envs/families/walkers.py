"""Two-dimensional walkers: a goal velocity, a direction, random physics."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from metarl_envs.family import Array
from metarl_envs.markers import arrow
from metarl_envs.mujoco_envs import make_envs
from metarl_envs.mujoco_family import MujocoFamily, load_model
from metarl_envs.physics import FieldRange, RandomPhysics
from metarl_envs.task_spaces import Signs, interval


class Walker(MujocoFamily):
    """Walk forward, without a task; reward v + alive bonus - control cost.

    Args:
        xml: File name of the model.
        ctrl_cost_weight: Weight of the squared norm of the action, clipped to the action space.
        alive_bonus: Reward of every step.
        reset_noise_scale: Range of the uniform noise on `qpos` and `qvel`.
    """

    task_space: spaces.Box = spaces.Box(0.0, 0.0, (0,), np.float64)
    camera = {"distance": 3.0, "elevation": -25.0}  # noqa: RUF012

    def __init__(self, xml: str, ctrl_cost_weight: float, alive_bonus: float, reset_noise_scale: float) -> None:
        super().__init__(load_model(xml), 4, reset_noise_scale, gaussian_velocity=False)
        self.ctrl_cost_weight = ctrl_cost_weight
        self.alive_bonus = alive_bonus

    def observe(self, state: Array) -> Array:
        """Return all of the state but the x position, velocities clipped to ±10."""
        observation = state[:, 1:].copy()
        np.clip(observation[:, self.model.nq - 1 :], -10.0, 10.0, out=observation[:, self.model.nq - 1 :])
        return observation

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the forward velocity, the alive bonus and the control cost."""
        return {"reward_velocity": self.velocity(state, next_state), **self._costs(action)}

    def _costs(self, action: Array) -> dict[str, Array]:
        return {
            "reward_alive": np.full(len(action), self.alive_bonus),
            "reward_ctrl": -self.control_cost(action, self.ctrl_cost_weight),
        }


class Hopper(Walker):
    """Gymnasium's Hopper-v5: body, start noise, observation and ends.

    Args:
        ctrl_cost_weight: See `Walker`.
        alive_bonus: See `Walker`.
        reset_noise_scale: See `Walker`.
    """

    def __init__(
        self, ctrl_cost_weight: float = 0.001, alive_bonus: float = 1.0, reset_noise_scale: float = 0.005
    ) -> None:
        super().__init__("hopper.xml", ctrl_cost_weight, alive_bonus, reset_noise_scale)

    def terminated(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where height <= 0.7, abs(angle) >= 0.2 or another part of the state is out of ±100."""
        calm = (np.abs(next_state[:, 2:]) < 100.0).all(axis=-1)
        return ~(calm & (next_state[:, 1] > 0.7) & (np.abs(next_state[:, 2]) < 0.2))


class Walker2d(Walker):
    """Gymnasium's Walker2d-v5: body, start noise, observation and ends.

    Args:
        ctrl_cost_weight: See `Walker`.
        alive_bonus: See `Walker`.
        reset_noise_scale: See `Walker`.
    """

    def __init__(
        self, ctrl_cost_weight: float = 0.001, alive_bonus: float = 1.0, reset_noise_scale: float = 0.005
    ) -> None:
        super().__init__("walker2d_v5.xml", ctrl_cost_weight, alive_bonus, reset_noise_scale)

    def terminated(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where the height is outside (0.8, 2) or abs(angle) >= 1."""
        height = next_state[:, 1]
        return ~((height > 0.8) & (height < 2.0) & (np.abs(next_state[:, 2]) < 1.0))


class Walker2dVel(Walker2d):
    """Walk at a goal velocity; reward alive bonus - abs(v - v*) - control cost.

    v* is uniform in [0, 10] m/s.

    Source: Rothfuss et al. 2019 (ProMP), jonasrothfuss/ProMP `walker2d_rand_vel.py`.

    Differs: Gymnasium's v5 body with 4 physics steps a control step (the source 8).

    Args:
        low: Lowest goal velocity, m/s.
        high: Highest goal velocity, m/s.
        alive_bonus: See `Walker`.
        **options: See `Walker2d`.
    """

    def __init__(self, low: float = 0.0, high: float = 10.0, alive_bonus: float = 15.0, **options: Any) -> None:
        super().__init__(alive_bonus=alive_bonus, **options)
        self.task_space = interval(low, high, "Walker2dVel")

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the distance from the goal velocity, the alive bonus and the control cost."""
        velocity = self.velocity(state, next_state)
        return {"reward_velocity": -np.abs(velocity - task[:, 0]), **self._costs(action)}

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show an arrow as long as a fifth of a second at the goal velocity goes."""
        return [arrow([state[0], 0.0, state[1]], 0.2 * task[0])]


class Walker2dDir(Walker2d):
    """Walk forward (+1) or backward (-1); reward ±v + alive bonus - control cost.

    Source: Rothfuss et al. 2019 (ProMP), jonasrothfuss/ProMP `walker2d_rand_direc.py`.

    Differs: Gymnasium's v5 body with 4 physics steps a control step (the source 8).

    Args:
        ctrl_cost_weight: See `Walker`.
        alive_bonus: See `Walker`.
        reset_noise_scale: See `Walker`.
    """

    task_space: spaces.Box = Signs(1)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the velocity along the direction, the alive bonus and the control cost."""
        return {"reward_velocity": task[:, 0] * self.velocity(state, next_state), **self._costs(action)}

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show an arrow in the direction."""
        return [arrow([state[0], 0.0, state[1]], task[0])]


def rand_params(log_scale: float) -> list[FieldRange]:
    """Return rand_param_envs' ranges: each element of four fields times 1.5 or 1.3 to the power U(-s, s).

    Raises:
        ValueError: If `log_scale` is not positive.
    """
    if not log_scale > 0:
        raise ValueError(f"RandParams: log_scale must be positive, got {log_scale}")
    bases = {"body_mass": 1.5, "body_inertia": 1.5, "dof_damping": 1.3, "geom_friction": 1.5}
    return [FieldRange(field, base**-log_scale, base**log_scale, log=True) for field, base in bases.items()]


class HopperRandParams(RandomPhysics):
    """Hop forward with random masses, inertias, damping and friction; reward v + alive bonus - control cost.

    A task holds a factor for every element of the four fields that is not zero.

    Source: Rakelly et al. 2019 (PEARL), rand_param_envs `base.py`.

    Differs: the constants that follow from the masses follow (`mj_setConst`); the source leaves them as they were.

    Args:
        log_scale: Factors are 1.5 (damping: 1.3) to the power of a uniform number in ±log_scale.
        **options: See `Hopper`.
    """

    def __init__(self, log_scale: float = 3.0, **options: Any) -> None:
        super().__init__(Hopper(**options), rand_params(log_scale))


class Walker2dRandParams(RandomPhysics):
    """Walk forward with random masses, inertias, damping and friction; reward v + alive bonus - control cost.

    A task holds a factor for every element of the four fields that is not zero.

    Source: Rakelly et al. 2019 (PEARL), rand_param_envs `base.py`.

    Differs: the constants that follow from the masses follow (`mj_setConst`); the source leaves them as they were.

    Args:
        log_scale: Factors are 1.5 (damping: 1.3) to the power of a uniform number in ±log_scale.
        **options: See `Walker2d`.
    """

    def __init__(self, log_scale: float = 3.0, **options: Any) -> None:
        super().__init__(Walker2d(**options), rand_params(log_scale))


Walker2dVelEnv, Walker2dVelVectorEnv = make_envs(Walker2dVel)
Walker2dDirEnv, Walker2dDirVectorEnv = make_envs(Walker2dDir)
HopperRandParamsEnv, HopperRandParamsVectorEnv = make_envs(HopperRandParams)
Walker2dRandParamsEnv, Walker2dRandParamsVectorEnv = make_envs(Walker2dRandParams)
