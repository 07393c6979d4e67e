"""Swimmer task distribution: a goal velocity."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarl_envs.family import Array
from metarl_envs.markers import arrow
from metarl_envs.mujoco_envs import make_envs
from metarl_envs.mujoco_family import MujocoFamily, load_model
from metarl_envs.task_spaces import interval


class SwimmerVel(MujocoFamily):
    """Swim at a goal velocity; reward -weight abs(v - v*) - control cost.

    Gymnasium's Swimmer-v5 body, start noise and 8-d observation; v* is uniform in [0.1, 0.2] m/s.

    Source: Finn et al. 2017 (MAML), cbfinn/maml_rl `swimmer_randgoal_env.py`.

    Differs: Gymnasium's body. (ProMP's version rewards the distance from the goal velocity: a wrong sign.)

    Args:
        low: Lowest goal velocity, m/s.
        high: Highest goal velocity, m/s.
        velocity_weight: Weight of the distance from the goal velocity.
        ctrl_cost_weight: Weight of the squared norm of the action, clipped to the action space.
        reset_noise_scale: Range of the uniform noise on `qpos` and `qvel`.
    """

    def __init__(
        self,
        low: float = 0.1,
        high: float = 0.2,
        velocity_weight: float = 1.5,
        ctrl_cost_weight: float = 0.005,
        reset_noise_scale: float = 0.1,
    ) -> None:
        super().__init__(load_model("swimmer.xml"), 4, reset_noise_scale, gaussian_velocity=False)
        self.task_space = interval(low, high, "SwimmerVel")
        self.velocity_weight = velocity_weight
        self.ctrl_cost_weight = ctrl_cost_weight

    def observe(self, state: Array) -> Array:
        """Return all of the state but the x and y position, `[N, 8]`."""
        return state[:, 2:].copy()

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the weighted distance from the goal velocity and the control cost, each negative."""
        velocity = self.velocity(state, next_state)
        return {
            "reward_velocity": -self.velocity_weight * np.abs(velocity - task[:, 0]),
            "reward_ctrl": -self.control_cost(action, self.ctrl_cost_weight),
        }

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show an arrow as long as the way of five seconds at the goal velocity."""
        return [arrow([state[0], state[1], 0.0], 5.0 * task[0])]


SwimmerVelEnv, SwimmerVelVectorEnv = make_envs(SwimmerVel)
