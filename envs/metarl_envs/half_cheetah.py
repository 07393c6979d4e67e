"""Half-cheetah task distributions: run at a goal velocity, run forward or backward."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from metarl_envs.family import Array, Signs
from metarl_envs.mujoco_envs import MujocoFamily, MujocoTaskEnv, MujocoTaskVectorEnv, load_model


class HalfCheetah(MujocoFamily):
    """Gymnasium's HalfCheetah-v5 body, start noise and 17-d observation, with the MAML paper's control cost.

    Args:
        ctrl_cost_weight: Weight of the squared norm of the action, clipped to the action space.
        reset_noise_scale: Range of the uniform noise on `qpos` and scale of the Gaussian noise on `qvel`.
    """

    def __init__(self, ctrl_cost_weight: float = 0.05, reset_noise_scale: float = 0.1) -> None:
        super().__init__(load_model("half_cheetah.xml"), frame_skip=5)
        self.ctrl_cost_weight = ctrl_cost_weight
        self.reset_noise_scale = reset_noise_scale

    def initial_state(self, rng: np.random.Generator) -> Array:
        """Draw noise around the model's default pose, in the order in which Gymnasium draws it."""
        scale = self.reset_noise_scale
        position = rng.uniform(-scale, scale, size=self.model.nq)
        velocity = scale * rng.standard_normal(self.model.nv)
        return self.default_state + np.concatenate([position, velocity])

    def observe(self, state: Array) -> Array:
        """Return all of the state but the x position, `[N, 17]`."""
        return state[:, 1:].copy()

    def velocity(self, state: Array, next_state: Array) -> Array:
        """Return the mean forward velocity of the torso over the step, in m/s, `[N]`."""
        return (next_state[:, 0] - state[:, 0]) / self.dt

    def control_cost(self, action: Array) -> Array:
        """Return the cost of the actions, clipped to the action space, `[N]`."""
        return self.ctrl_cost_weight * np.sum(np.square(np.clip(action, -1.0, 1.0)), axis=-1)


class HalfCheetahVel(HalfCheetah):
    """Run at a goal velocity; reward -abs(v - v*) - control cost.

    Source: Finn et al. 2017, cbfinn/maml_rl `half_cheetah_env_rand.py`; v* uniform in [0, 2] m/s there,
    in [0, 3] in ProMP and PEARL.

    Args:
        low: Lowest goal velocity, m/s.
        high: Highest goal velocity, m/s.
        ctrl_cost_weight: See `HalfCheetah`.
        reset_noise_scale: See `HalfCheetah`.
    """

    def __init__(
        self,
        low: float = 0.0,
        high: float = 2.0,
        ctrl_cost_weight: float = 0.05,
        reset_noise_scale: float = 0.1,
    ) -> None:
        super().__init__(ctrl_cost_weight, reset_noise_scale)
        if not low < high:
            raise ValueError(f"HalfCheetahVel: low must be less than high, got low={low}, high={high}")
        self.task_space = spaces.Box(low, high, (1,), np.float64)

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n goal velocities, `[n, 1]`, in m/s."""
        return rng.uniform(self.task_space.low, self.task_space.high, size=(n, 1))

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the distance from the goal velocity and the control cost, each negative."""
        velocity = self.velocity(state, next_state)
        return {"reward_velocity": -np.abs(velocity - task[:, 0]), "reward_ctrl": -self.control_cost(action)}


class HalfCheetahDir(HalfCheetah):
    """Run forward (+1) or backward (-1); reward ±v - control cost.

    Source: Finn et al. 2017, cbfinn/maml_rl `half_cheetah_env_rand_direc.py`.

    Args:
        ctrl_cost_weight: See `HalfCheetah`.
        reset_noise_scale: See `HalfCheetah`.
    """

    task_space = Signs(1)

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n directions -1 or +1, `[n, 1]`."""
        return rng.choice([-1.0, 1.0], size=(n, 1))

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the velocity along the direction and the control cost."""
        velocity = self.velocity(state, next_state)
        return {"reward_velocity": task[:, 0] * velocity, "reward_ctrl": -self.control_cost(action)}


class HalfCheetahVelEnv(MujocoTaskEnv):
    """`metarl/HalfCheetahVel-v0`, one simulation."""

    family_type = HalfCheetahVel


class HalfCheetahVelVectorEnv(MujocoTaskVectorEnv):
    """`metarl/HalfCheetahVel-v0`, N simulations."""

    family_type = HalfCheetahVel


class HalfCheetahDirEnv(MujocoTaskEnv):
    """`metarl/HalfCheetahDir-v0`, one simulation."""

    family_type = HalfCheetahDir


class HalfCheetahDirVectorEnv(MujocoTaskVectorEnv):
    """`metarl/HalfCheetahDir-v0`, N simulations."""

    family_type = HalfCheetahDir
