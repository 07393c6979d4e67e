"""2-D navigation: a point that walks to a goal it cannot see, rewarded densely, sparsely or in corners."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from metarl_envs.array_envs import ArrayFamily, make_envs
from metarl_envs.counter_rng import Streams
from metarl_envs.family import Array
from metarl_envs.rendering import BLUE, GREY, RED, Frame, Plane
from metarl_envs.task_spaces import Circle, Signs

GOAL_BOX = 0.01
"""An episode ends when both coordinates are closer to the goal than this."""


class Walk(ArrayFamily):
    """A point that actions move in the plane.

    Args:
        max_step: Largest move along each axis in one step.
    """

    def __init__(self, max_step: float = 0.1) -> None:
        self.max_step = max_step
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-max_step, max_step, (2,), np.float32)

    def start(self, rng: Streams) -> Array:
        """Start at the origin."""
        return np.zeros((len(rng), 2))

    def move(self, state: Array, action: Array, task: Array, rng: Streams) -> Array:
        """Add the clipped actions to the positions."""
        return state + np.clip(action, -self.max_step, self.max_step)

    def observe(self, state: Array) -> Array:
        """Return the positions, `[N, 2]`."""
        return state.copy()


class PointNavigation(Walk):
    """Walk from the origin to a goal; reward -‖s - g‖ after the move.

    Goals are uniform in [-0.5, 0.5]², moves are clipped to ±0.1.

    Source: Finn et al. 2017 (MAML), cbfinn/maml_rl `maml_examples/point_env_randgoal.py`.

    Args:
        goal_range: Goals lie uniformly in [-goal_range, goal_range]².
    """

    def __init__(self, goal_range: float = 0.5) -> None:
        if not goal_range > 0:
            raise ValueError(f"PointNavigation: goal_range must be positive, got {goal_range}")
        super().__init__()
        self.task_space = spaces.Box(-goal_range, goal_range, (2,), np.float64)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the negative distance to the goal."""
        return {"reward_distance": -distance(next_state, task)}

    def terminated(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where both coordinates are within 0.01 of the goal."""
        return np.all(np.abs(next_state - task) < GOAL_BOX, axis=-1)

    def draw(self, state: Array, task: Array, size: int) -> Frame:
        """Show the goal in red and the point in blue."""
        plane = Plane(1.5 * self.task_space.high[0], size)
        plane.disc(task[0], task[1], 0.06 * self.task_space.high[0], RED)
        plane.disc(state[0], state[1], 0.06 * self.task_space.high[0], BLUE)
        return plane.frame


class SparseNavigation(Walk):
    """Walk from the origin to a goal on a half-circle; reward 1 - ‖s - g‖ within 0.2 of the goal, else 0.

    The angle of the goal is uniform in [0, π], moves are clipped to ±0.1.

    Source: Rakelly et al. 2019 (PEARL), katerakelly/oyster `point_robot.py`, and Zintgraf et al. 2020 (VariBAD).

    Differs: PEARL trains on the dense reward (`sparse=False`); VariBAD's horizon is 100.

    Args:
        radius: Radius of the half-circle.
        goal_radius: Distance from the goal within which there is a reward.
        sparse: Whether the reward is sparse, else -‖s - g‖.
    """

    def __init__(self, radius: float = 1.0, goal_radius: float = 0.2, sparse: bool = True) -> None:
        if not (radius > 0 and goal_radius > 0):
            raise ValueError(f"SparseNavigation: radii must be positive, got {radius} and {goal_radius}")
        self.goal_radius = goal_radius
        self.sparse = sparse
        super().__init__()
        self.task_space = self.circle = Circle(radius, half=True)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the reward near the goal, or the negative distance."""
        away = distance(next_state, task)
        if not self.sparse:
            return {"reward_distance": -away}
        return {"reward_goal": np.where(away <= self.goal_radius, 1.0 - away, 0.0)}

    def success(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where the point is within the goal's radius."""
        return distance(next_state, task) <= self.goal_radius

    def draw(self, state: Array, task: Array, size: int) -> Frame:
        """Show the goal in red and the point in blue."""
        plane = Plane(1.5 * self.circle.radius, size)
        plane.ring(0.0, 0.0, self.circle.radius, GREY)
        plane.ring(task[0], task[1], self.goal_radius, RED)
        plane.disc(task[0], task[1], 0.05 * self.circle.radius, RED)
        plane.disc(state[0], state[1], 0.05 * self.circle.radius, BLUE)
        return plane.frame


class CornerNavigation(Walk):
    """Walk to one of four corners; reward the distance gained, where the goal is the nearest corner.

    Near the start, in the diamond abs(x) + abs(y) < 0.5, and where another corner is nearer the reward is 0.
    The corners are (±2, ±2), starts are uniform in [-0.2, 0.2]², moves are clipped to ±0.2.

    Source: Rothfuss et al. 2019 (ProMP), jonasrothfuss/ProMP `point_env_2d_corner.py`.

    Args:
        corner: Coordinate of the corners.
        start_range: Episodes start uniformly in [-start_range, start_range]².
        quiet_radius: Size of the diamond without reward.
    """

    def __init__(self, corner: float = 2.0, start_range: float = 0.2, quiet_radius: float = 0.5) -> None:
        if not (corner > 0 and start_range >= 0 and quiet_radius >= 0):
            raise ValueError(
                f"CornerNavigation: expected corner > 0, start_range >= 0 and quiet_radius >= 0, "
                f"got {corner}, {start_range} and {quiet_radius}"
            )
        self.start_range = start_range
        self.quiet_radius = quiet_radius
        super().__init__(max_step=0.2)
        self.task_space = self.corners = Signs(2, corner)

    def start(self, rng: Streams) -> Array:
        """Start near the origin."""
        return self.start_range * (2.0 * rng.uniform(2) - 1.0)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the distance gained where it counts."""
        gained = distance(state, task) - distance(next_state, task)
        # the goal is the nearest corner where both coordinates have its signs
        nearest = (next_state * task >= 0).all(axis=-1)
        left = np.abs(next_state[:, 0]) + np.abs(next_state[:, 1]) >= self.quiet_radius
        return {"reward_gained": np.where(nearest & left, gained, 0.0)}

    def draw(self, state: Array, task: Array, size: int) -> Frame:
        """Show the goal in red and the point in blue."""
        plane = Plane(1.5 * self.corners.scale, size)
        for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            plane.disc(x * self.corners.scale, y * self.corners.scale, 0.06 * self.corners.scale, GREY)
        plane.disc(task[0], task[1], 0.06 * self.corners.scale, RED)
        plane.disc(state[0], state[1], 0.06 * self.corners.scale, BLUE)
        return plane.frame


def distance(position: Array, goal: Array) -> Array:
    """Return the Euclidean distances `[N]`."""
    x, y = (position - goal).T
    return np.sqrt(x * x + y * y)


PointNavigationEnv, PointNavigationVectorEnv = make_envs(PointNavigation)
SparseNavigationEnv, SparseNavigationVectorEnv = make_envs(SparseNavigation)
CornerNavigationEnv, CornerNavigationVectorEnv = make_envs(CornerNavigation)
