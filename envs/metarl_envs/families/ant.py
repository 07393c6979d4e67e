"""Ant task distributions: a goal velocity, a direction, a goal position, a broken leg."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from metarl_envs.contact_forces import FORCES, limited, sense_forces
from metarl_envs.families.crippled import actuators_without, check_drawn, geoms_moved_by
from metarl_envs.family import Array
from metarl_envs.markers import arrow, ball
from metarl_envs.mujoco_envs import make_envs
from metarl_envs.mujoco_family import MujocoFamily, check_body, load_model
from metarl_envs.task_spaces import Circle, Index, Signs, interval


class Ant(MujocoFamily):
    """Gymnasium's Ant-v5 body and start noise; by default contact forces are in neither reward nor observation.

    The sources charge for contact forces (`cfrc_ext`, each number within ±1) and observe them: MAML's settings are
    `contact_cost_weight=5e-4, include_contact_forces=True, include_position=True, body="paper"`, less the torso's
    rotation matrix and centre of mass, which its observation also holds. Velocities are those of the root over the
    step.

    Args:
        ctrl_cost_weight: Weight of the squared norm of the action, clipped to the action space.
        alive_bonus: Reward of every step.
        terminate_when_unhealthy: Whether an episode ends when the torso is lower than 0.2 m or higher than 1 m.
        include_position: Whether the observation holds the x and y position, which makes it 29-d instead of 27-d.
        reset_noise_scale: Range of the uniform noise on `qpos` and scale of the Gaussian noise on `qvel`.
        contact_cost_weight: Weight of the squared norm of the contact forces, each number clipped to ±1.
        include_contact_forces: Whether the observation ends with these forces, 78 more numbers.
        body: "gymnasium", with a control step of 0.05 s, or "paper", with rllab's, which the MAML paper used: one
            physics step of 0.02 s a control step, and harder contacts.
    """

    def __init__(
        self,
        ctrl_cost_weight: float = 0.005,
        alive_bonus: float = 0.05,
        terminate_when_unhealthy: bool = True,
        include_position: bool = False,
        reset_noise_scale: float = 0.1,
        contact_cost_weight: float = 0.0,
        include_contact_forces: bool = False,
        body: Literal["gymnasium", "paper"] = "gymnasium",
    ) -> None:
        check_body(body, "Ant")
        self.include_position = include_position
        self.include_contact_forces = include_contact_forces
        self.contact_cost_weight = contact_cost_weight
        forces = bool(contact_cost_weight or include_contact_forces)
        edits = [sense_forces] * forces + [_rllab] * (body == "paper")
        super().__init__(
            load_model("ant.xml", *edits),
            frame_skip=5 if body == "gymnasium" else 1,
            reset_noise_scale=reset_noise_scale,
            derived=[FORCES] * forces,
        )
        self.ctrl_cost_weight = ctrl_cost_weight
        self.alive_bonus = alive_bonus
        self.terminate_when_unhealthy = terminate_when_unhealthy

    def observe(self, state: Array) -> Array:
        """Return positions, by default but x and y, velocities and the contact forces asked for, `[N, 27]` or more."""
        moving = self.model.nq + self.model.nv
        kinematics = state[:, 0 if self.include_position else 2 : moving]
        if not self.include_contact_forces:
            return kinematics.copy()
        return np.concatenate([kinematics, limited(state[:, moving:])], axis=1)

    def terminated(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where the torso's height lies outside [0.2, 1]."""
        if not self.terminate_when_unhealthy:
            return np.zeros(len(next_state), np.bool_)
        return (next_state[:, 2] < 0.2) | (next_state[:, 2] > 1.0)

    def _costs(self, action: Array, next_state: Array) -> dict[str, Array]:
        costs = {
            "reward_ctrl": -self.control_cost(action, self.ctrl_cost_weight),
            "reward_alive": np.full(len(action), self.alive_bonus),
        }
        if self.contact_cost_weight:
            forces = limited(next_state[:, self.model.nq + self.model.nv :])
            costs["reward_contact"] = -self.contact_cost_weight * np.square(forces).sum(axis=-1)
        return costs


def _rllab(spec: Any) -> None:
    """Give the ant the time step and the contacts of rllab's `ant.xml`, the rest of which is Gymnasium's."""
    spec.option.timestep = 0.02
    for geom in spec.geoms:
        geom.solimp[:3] = 0.8, 0.8, 0.01


class AntVel(Ant):
    """Run at a goal velocity; reward bonus - abs(v - v*) - control cost + alive bonus.

    v* is uniform in [0, 3] m/s.

    Source: Finn et al. 2017 (MAML), cbfinn/maml_rl `ant_env_rand.py`.

    Differs: by default no contact forces in reward and observation (`contact_cost_weight`, `include_contact_forces`),
    and Gymnasium's body with a control step of 0.05 s (the source 0.02 s, `body="paper"`).

    Args:
        low: Lowest goal velocity, m/s.
        high: Highest goal velocity, m/s.
        goal_bonus: Reward of running at exactly the goal velocity.
        **options: See `Ant`.
    """

    def __init__(self, low: float = 0.0, high: float = 3.0, goal_bonus: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.goal_bonus = goal_bonus
        self.task_space = interval(low, high, "AntVel")

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the closeness to the goal velocity, the control cost and the alive bonus."""
        velocity = self.velocity(state, next_state)
        return {"reward_velocity": self.goal_bonus - np.abs(velocity - task[:, 0]), **self._costs(action, next_state)}

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show an arrow as long as the way of one second at the goal velocity."""
        return [arrow(state[:3], task[0])]


class AntDir(Ant):
    """Run in a direction; reward dir·v - control cost + alive bonus.

    Forward or backward, as in MAML. ProMP and PEARL draw any angle and have costs of their own:
    `directions="any", ctrl_cost_weight=0.5, alive_bonus=1.0`.

    Source: Finn et al. 2017 (MAML), cbfinn/maml_rl `ant_env_rand_direc.py`; Rakelly et al. 2019 (PEARL),
    katerakelly/oyster `ant_dir.py`.

    Differs: by default no contact forces in reward and observation (`contact_cost_weight`, `include_contact_forces`),
    and Gymnasium's body with a control step of 0.05 s (the source 0.02 s, `body="paper"`).

    Args:
        directions: "forward-backward", a task being -1 or +1, or "any", a task being a unit vector whose
            angle is uniform in [0, 2π].
        **options: See `Ant`.
    """

    def __init__(self, directions: Literal["forward-backward", "any"] = "forward-backward", **options: Any) -> None:
        super().__init__(**options)
        if directions not in ("forward-backward", "any"):
            raise ValueError(f"AntDir: directions={directions!r}; expected 'forward-backward' or 'any'")
        self.any = directions == "any"
        self.task_space = Circle() if self.any else Signs(1)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the velocity along the direction, the control cost and the alive bonus."""
        along = task[:, 0] * self.velocity(state, next_state)
        if self.any:
            along = along + task[:, 1] * self.velocity(state, next_state, axis=1)
        return {"reward_velocity": along, **self._costs(action, next_state)}

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show an arrow in the direction."""
        return [arrow(state[:3], task[0], task[1] if self.any else 0.0)]


class AntGoal(Ant):
    """Walk to a goal; reward bonus - L1 distance - control cost + alive bonus.

    The observation holds the x and y position. Goals are uniform in [-3, 3]², as in MAML. ProMP and PEARL
    draw them from the disk of radius 3 and never end: `goals="disk", goal_bonus=0.0, ctrl_cost_weight=0.1,
    alive_bonus=0.0, terminate_when_unhealthy=False`.

    Source: Finn et al. 2017 (MAML), cbfinn/maml_rl `ant_env_rand_goal.py`; Rakelly et al. 2019 (PEARL),
    katerakelly/oyster `ant_goal.py`.

    Differs: by default no contact forces in reward and observation (`contact_cost_weight`, `include_contact_forces`),
    and Gymnasium's body with a control step of 0.05 s (the source 0.02 s, `body="paper"`).

    Args:
        goals: "square" or "disk".
        goal_range: Half the side of the square, or the radius of the disk, m.
        goal_bonus: Reward of standing on the goal.
        include_position: See `Ant`.
        **options: See `Ant`.
    """

    camera = {"distance": 12.0, "lookat": np.zeros(3), "elevation": -50.0}  # noqa: RUF012

    def __init__(
        self,
        goals: Literal["square", "disk"] = "square",
        goal_range: float = 3.0,
        goal_bonus: float = 4.0,
        include_position: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(include_position=include_position, **options)
        if goals not in ("square", "disk"):
            raise ValueError(f"AntGoal: goals={goals!r}; expected 'square' or 'disk'")
        if not goal_range > 0:
            raise ValueError(f"AntGoal: goal_range must be positive, got {goal_range}")
        self.goal_bonus = goal_bonus
        disk, square = Circle(goal_range, filled=True), spaces.Box(-goal_range, goal_range, (2,), np.float64)
        self.task_space = disk if goals == "disk" else square

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the closeness to the goal, the control cost and the alive bonus."""
        distance = np.abs(next_state[:, 0] - task[:, 0]) + np.abs(next_state[:, 1] - task[:, 1])
        return {"reward_goal": self.goal_bonus - distance, **self._costs(action, next_state)}

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Show a ball at the goal."""
        return [ball(task[0], task[1], 0.4, radius=0.4)]


LEGS = np.array([[2, 3], [4, 5], [6, 7], [0, 1]])
"""Actuators of hip and ankle of each leg: the model lists those of its fourth leg first."""


class AntCrippled(Ant):
    """Run forward while the two actuators of one leg, which the task names, are dead; reward v + alive bonus.

    The dead leg shrinks to a stump: half as thick and half as long, its lower part drawn up to the upper one.

    Source: Nagabandi et al. 2019 (GrBAL), iclavera/learning_to_adapt `ant_env.py`.

    Differs: the source trains on legs 0 to 2 and tests on 3 (`drawn`). Gymnasium's body has a control step of 0.05 s
    (the source 0.02 s, `body="paper"`).

    Args:
        drawn: Legs among which `sample_tasks` draws.
        shrink: Whether the dead leg shrinks.
        ctrl_cost_weight: See `Ant`.
        terminate_when_unhealthy: See `Ant`.
        **options: See `Ant`.
    """

    task_space: spaces.Box = Index(4)

    def __init__(
        self,
        drawn: Sequence[int] = (0, 1, 2, 3),
        shrink: bool = True,
        ctrl_cost_weight: float = 0.0,
        terminate_when_unhealthy: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(ctrl_cost_weight, terminate_when_unhealthy=terminate_when_unhealthy, **options)
        self.drawn = check_drawn(drawn, 4, "AntCrippled")
        self.shrink = shrink
        # upper and lower geom of each leg
        self._legs = np.array([geoms_moved_by(self.model, actuators) for actuators in LEGS.tolist()])
        # compiled, the lower geoms lie at their bodies' centres of mass, whatever geom_pos says
        self.model.geom_sameframe[self._legs[:, 1]] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n legs, `[n, 1]`."""
        return rng.choice(self.drawn, size=(n, 1))

    def fields(self, task: Array) -> dict[str, Array]:
        """Return the sizes and positions of all geoms, with those of the dead leg shrunk."""
        if not self.shrink:
            return {}
        rows, (upper, lower) = np.arange(len(task)), self._legs[task[:, 0].astype(int)].T
        size, position = (
            np.repeat(field[None], len(task), axis=0) for field in (self.model.geom_size, self.model.geom_pos)
        )
        for geom in (upper, lower):
            size[rows, geom, :2] /= 2
        position[rows, lower] = position[rows, upper]
        return {"geom_size": size, "geom_pos": position}

    def control(self, action: Array, task: Array) -> Array:
        """Return the actions with those of the dead leg at zero."""
        return actuators_without(action, LEGS[task[:, 0].astype(int)])

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the forward velocity, the control cost and the alive bonus."""
        return {
            "reward_velocity": self.velocity(state, next_state),
            **self._costs(self.control(action, task), next_state),
        }

    def painted(self, task: Array) -> list[int]:
        """Paint the dead leg."""
        return self._legs[int(task[0])].tolist()


AntVelEnv, AntVelVectorEnv = make_envs(AntVel)
AntDirEnv, AntDirVectorEnv = make_envs(AntDir)
AntGoalEnv, AntGoalVectorEnv = make_envs(AntGoal)
AntCrippledEnv, AntCrippledVectorEnv = make_envs(AntCrippled)
