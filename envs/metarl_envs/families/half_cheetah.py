"""Half-cheetah task distributions: a goal velocity, a direction, a broken actuator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from metarl_envs.families.crippled import actuators_without, check_drawn, geoms_moved_by
from metarl_envs.family import Array
from metarl_envs.markers import arrow
from metarl_envs.mujoco_envs import make_envs
from metarl_envs.mujoco_family import Derived, MujocoFamily, check_body, load_model
from metarl_envs.task_spaces import Index, Signs, interval


class HalfCheetah(MujocoFamily):
    """Gymnasium's HalfCheetah-v5 body, start noise and 17-d observation, with the MAML paper's control cost.

    Args:
        ctrl_cost_weight: Weight of the squared norm of the action, clipped to the action space.
        torso_position: Whether the observation also holds the centre of mass, as in MAML and PEARL, which makes it
            20-d.
        reset_noise_scale: Range of the uniform noise on `qpos` and scale of the Gaussian noise on `qvel`.
        body: "gymnasium", with 5 physics steps of 0.01 s a control step, or "paper", with one, as in rllab, which the
            MAML paper used.
    """

    camera = {"distance": 3.0, "elevation": -25.0}  # noqa: RUF012

    def __init__(
        self,
        ctrl_cost_weight: float = 0.05,
        torso_position: bool = False,
        reset_noise_scale: float = 0.1,
        body: Literal["gymnasium", "paper"] = "gymnasium",
    ) -> None:
        check_body(body, "HalfCheetah")
        # the sources' torso position is the centre of mass of the torso and all that hangs on it
        derived: list[Derived] = [("subtree_com", slice(1, 2))] if torso_position else []
        frame_skip = 5 if body == "gymnasium" else 1
        super().__init__(load_model("half_cheetah.xml"), frame_skip, reset_noise_scale, derived=derived)
        self.ctrl_cost_weight = ctrl_cost_weight

    def observe(self, state: Array) -> Array:
        """Return all of the state but the x position, `[N, 17]` or `[N, 20]`."""
        return state[:, 1:].copy()


class HalfCheetahVel(HalfCheetah):
    """Run at a goal velocity; reward -abs(v - v*) - control cost.

    v* is uniform in [0, 2] m/s, as in MAML; ProMP and PEARL have [0, 3].

    Source: Finn et al. 2017 (MAML), cbfinn/maml_rl `half_cheetah_env_rand.py`.

    Differs: by default Gymnasium's body with a control step of 0.05 s (the source 0.01 s, `body="paper"`) and a 17-d
    observation without the torso's position (the source 20-d, `torso_position=True`).

    Args:
        low: Lowest goal velocity, m/s.
        high: Highest goal velocity, m/s.
        **options: See `HalfCheetah`.
    """

    def __init__(self, low: float = 0.0, high: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.task_space = interval(low, high, "HalfCheetahVel")

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the distance from the goal velocity and the control cost, each negative."""
        velocity = self.velocity(state, next_state)
        return {
            "reward_velocity": -np.abs(velocity - task[:, 0]),
            "reward_ctrl": -self.control_cost(action, self.ctrl_cost_weight),
        }

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show an arrow as long as the way of one second at the goal velocity."""
        return [arrow([state[0], 0.0, 0.7 + state[1]], task[0])]


class HalfCheetahDir(HalfCheetah):
    """Run forward (+1) or backward (-1); reward ±v - control cost.

    Source: Finn et al. 2017 (MAML), cbfinn/maml_rl `half_cheetah_env_rand_direc.py`.

    Differs: by default Gymnasium's body with a control step of 0.05 s (the source 0.01 s, `body="paper"`) and a 17-d
    observation without the torso's position (the source 20-d, `torso_position=True`).

    Args:
        **options: See `HalfCheetah`.
    """

    task_space = Signs(1)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the velocity along the direction and the control cost."""
        velocity = self.velocity(state, next_state)
        return {
            "reward_velocity": task[:, 0] * velocity,
            "reward_ctrl": -self.control_cost(action, self.ctrl_cost_weight),
        }

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show an arrow in the direction."""
        return [arrow([state[0], 0.0, 0.7 + state[1]], task[0])]


class HalfCheetahCrippled(HalfCheetah):
    """Run forward while one actuator, which the task names, is dead; reward v - cost of the live controls.

    Source: Nagabandi et al. 2019 (GrBAL), iclavera/learning_to_adapt `half_cheetah_env.py`.

    Differs: the source trains on actuators 1 to 5 and tests on 0 (`drawn`); Gymnasium's body has a control step of
    0.05 s (the source 0.01 s, `body="paper"`).

    Args:
        drawn: Actuators among which `sample_tasks` draws.
        **options: See `HalfCheetah`.
    """

    task_space: spaces.Box = Index(6)

    def __init__(self, drawn: Sequence[int] = (0, 1, 2, 3, 4, 5), **options: Any) -> None:
        super().__init__(**options)
        self.drawn = check_drawn(drawn, 6, "HalfCheetahCrippled")

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n actuators, `[n, 1]`."""
        return rng.choice(self.drawn, size=(n, 1))

    def control(self, action: Array, task: Array) -> Array:
        """Return the actions with the dead actuator's at zero."""
        return actuators_without(action, task[:, :1])

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the forward velocity and the control cost."""
        cost = self.control_cost(self.control(action, task), self.ctrl_cost_weight)
        return {"reward_velocity": self.velocity(state, next_state), "reward_ctrl": -cost}

    def painted(self, task: Array) -> list[int]:
        """Paint what the dead actuator would move."""
        return geoms_moved_by(self.model, [int(task[0])])


HalfCheetahVelEnv, HalfCheetahVelVectorEnv = make_envs(HalfCheetahVel)
HalfCheetahDirEnv, HalfCheetahDirVectorEnv = make_envs(HalfCheetahDir)
HalfCheetahCrippledEnv, HalfCheetahCrippledVectorEnv = make_envs(HalfCheetahCrippled)
