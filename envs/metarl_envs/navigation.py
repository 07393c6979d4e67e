"""2-D navigation: a point that walks to a goal it cannot see."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from metarl_envs.array_envs import ArrayFamily, ArrayTaskEnv, ArrayTaskVectorEnv
from metarl_envs.family import Array

MAX_STEP = 0.1
"""Largest move along each axis in one step."""

GOAL_BOX = 0.01
"""An episode ends when both coordinates are closer to the goal than this."""


class PointNavigation(ArrayFamily):
    """Walk from the origin to a goal; reward -‖s - g‖ after the move.

    Source: Finn et al. 2017, cbfinn/maml_rl `maml_examples/point_env_randgoal.py`; goals uniform in
    [-0.5, 0.5]², moves clipped to ±0.1, horizon 100.

    Args:
        goal_range: Goals lie uniformly in [-goal_range, goal_range]².
    """

    fixed_start = True

    def __init__(self, goal_range: float = 0.5) -> None:
        if not goal_range > 0:
            raise ValueError(f"PointNavigation: goal_range must be positive, got {goal_range}")
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-MAX_STEP, MAX_STEP, (2,), np.float32)
        self.task_space = spaces.Box(-goal_range, goal_range, (2,), np.float64)

    def sample_tasks(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n goals, `[n, 2]`."""
        return rng.uniform(self.task_space.low, self.task_space.high, size=(n, 2))

    def initial_state(self, rng: np.random.Generator) -> Array:
        """Start at the origin."""
        return np.zeros(2)

    def move(self, state: Array, action: Array, task: Array) -> Array:
        """Add the clipped actions to the positions."""
        return state + np.clip(action, -MAX_STEP, MAX_STEP)

    def observe(self, state: Array) -> Array:
        """Return the positions, `[N, 2]`."""
        return state.copy()

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the negative distance to the goal."""
        x, y = (next_state - task).T
        return {"reward_distance": -np.sqrt(x * x + y * y)}

    def terminated(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where both coordinates are within 0.01 of the goal."""
        return np.all(np.abs(next_state - task) < GOAL_BOX, axis=-1)


class PointNavigationEnv(ArrayTaskEnv):
    """`metarl/PointNavigation-v0`, one simulation."""

    family_type = PointNavigation


class PointNavigationVectorEnv(ArrayTaskVectorEnv):
    """`metarl/PointNavigation-v0`, N simulations."""

    family_type = PointNavigation
