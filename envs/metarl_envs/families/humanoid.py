"""Humanoid task distribution: a direction."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metarl_envs.contact_forces import FORCES, sense_forces
from metarl_envs.family import Array
from metarl_envs.markers import arrow
from metarl_envs.mujoco_envs import make_envs
from metarl_envs.mujoco_family import Derived, MujocoFamily, load_model
from metarl_envs.task_spaces import Circle

OBSERVED: tuple[Derived, ...] = (
    ("cinert", slice(1, None)),
    ("cvel", slice(1, None)),
    ("qfrc_actuator", slice(6, None)),
)
"""Derived fields that the full observation adds, without those of the world and of the root's joint."""

MASS_CENTRE: Derived = ("subtree_com", slice(0, 1))
"""Centre of mass of all bodies."""

MAX_CONTACT_COST = 10.0
"""Largest cost of contact forces a step, as in Gymnasium and the source."""


class HumanoidDir(MujocoFamily):
    """Run in a direction; reward weight dir·v - control cost + alive bonus, v that of the centre of mass.

    Gymnasium's Humanoid-v5 body, start noise and ends; a task is a unit vector whose angle is uniform in
    [0, 2π]. The source weighs the velocity by 0.25 but divides the way by the physics step instead of the
    control step, five times as long; the default weight of 1.25 gives its rewards.

    Source: Rakelly et al. 2019 (PEARL), katerakelly/oyster `humanoid_dir.py`.

    Differs: by default no contact forces (`cfrc_ext`) in reward and observation (the source has them,
    `contact_cost_weight=5e-7, include_contact_forces=True`).

    Args:
        velocity_weight: Weight of the velocity along the direction.
        ctrl_cost_weight: Weight of the squared norm of the action, clipped to the action space.
        alive_bonus: Reward of every step.
        observation: "full", Gymnasium's without contact forces (270-d), or "state", `qpos` and `qvel` without
            the x and y position (45-d).
        terminate_when_unhealthy: Whether an episode ends when the torso is not between 1 m and 2 m high.
        reset_noise_scale: Range of the uniform noise on `qpos` and `qvel`.
        contact_cost_weight: Weight of the squared norm of the contact forces; the cost is at most 10.
        include_contact_forces: Whether the observation ends with the forces, 78 more numbers.
    """

    camera = {"distance": 4.0, "elevation": -35.0, "azimuth": 120.0}  # noqa: RUF012

    def __init__(
        self,
        velocity_weight: float = 1.25,
        ctrl_cost_weight: float = 0.1,
        alive_bonus: float = 5.0,
        observation: Literal["full", "state"] = "full",
        terminate_when_unhealthy: bool = True,
        reset_noise_scale: float = 0.01,
        contact_cost_weight: float = 0.0,
        include_contact_forces: bool = False,
    ) -> None:
        if observation not in ("full", "state"):
            raise ValueError(f"HumanoidDir: observation={observation!r}; expected 'full' or 'state'")
        forces = bool(contact_cost_weight or include_contact_forces)
        derived = (*(OBSERVED if observation == "full" else ()), *[FORCES] * forces, MASS_CENTRE)
        model = load_model("humanoid.xml", *[sense_forces] * forces)
        self.contact_cost_weight = contact_cost_weight
        self._forces = slice(-3 - 6 * (model.nbody - 1), -3)
        self._observed = slice(2, -3 if include_contact_forces or not forces else self._forces.start)
        super().__init__(model, 5, reset_noise_scale, gaussian_velocity=False, derived=derived)
        self.velocity_weight = velocity_weight
        self.ctrl_cost_weight = ctrl_cost_weight
        self.alive_bonus = alive_bonus
        self.terminate_when_unhealthy = terminate_when_unhealthy
        self.task_space = Circle()

    def observe(self, state: Array) -> Array:
        """Return all of the state but the x and y position and the centre of mass, `[N, 270]` or `[N, 45]` or more."""
        return state[:, self._observed].copy()

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the velocity along the direction, the control cost, the alive bonus and the cost of contacts."""
        along = task[:, 0] * self.velocity(state, next_state, -3) + task[:, 1] * self.velocity(state, next_state, -2)
        terms = {
            "reward_velocity": self.velocity_weight * along,
            "reward_ctrl": -self.control_cost(action, self.ctrl_cost_weight),
            "reward_alive": np.full(len(action), self.alive_bonus),
        }
        if self.contact_cost_weight:
            cost = self.contact_cost_weight * np.square(next_state[:, self._forces]).sum(axis=-1)
            terms["reward_contact"] = -np.minimum(cost, MAX_CONTACT_COST)
        return terms

    def terminated(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where the torso's height lies outside [1, 2]."""
        if not self.terminate_when_unhealthy:
            return np.zeros(len(next_state), np.bool_)
        return (next_state[:, 2] < 1.0) | (next_state[:, 2] > 2.0)

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show an arrow in the direction."""
        return [arrow(state[:3], task[0], task[1], above=0.6)]


HumanoidDirEnv, HumanoidDirVectorEnv = make_envs(HumanoidDir)
