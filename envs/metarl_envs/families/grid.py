"""Navigation on a grid: a goal cell that has to be searched for, and can be returned to in later episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from metarl_envs.array_envs import ArrayFamily, make_envs
from metarl_envs.counter_rng import Streams
from metarl_envs.family import Array
from metarl_envs.rendering import BLUE, GREY, RED, Frame, Plane
from metarl_envs.task_spaces import Cells

MOVES = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]], dtype=np.float64)
"""What the actions add to the position: stay, up, right, down, left."""

STEP_COST = 0.1
"""Lost in each step that does not end on the goal."""


class GridNavigation(ArrayFamily):
    """Search a grid for its goal cell; reward 1 on the goal after the move, else -0.1.

    Episodes start in the corner (0, 0); goals are uniform over the cells that are not within one cell of it,
    diagonals included. Actions stay, or go up, right, down or left; at the border they stay. The goal does not end the
    episode.

    Source: Zintgraf et al. 2020 (VariBAD), lmzintgraf/varibad `environments/navigation/gridworld.py`.

    Differs: the last step truncates the episode, where the source terminates it.

    Args:
        cells: Cells along a side.
    """

    def __init__(self, cells: int = 5) -> None:
        if cells < 3:
            raise ValueError(f"GridNavigation: cells must be at least 3, got {cells}")
        self.cells = cells
        self.observation_space = spaces.Box(0.0, cells - 1.0, (2,), np.float64)
        self.action_space = spaces.Discrete(len(MOVES))
        self.task_space = Cells(cells)

    def start(self, rng: Streams) -> Array:
        """Start in the corner."""
        return np.zeros((len(rng), 2))

    def move(self, state: Array, action: Any, task: Array, rng: Streams) -> Array:
        """Go to the next cells, or stay at the border."""
        return np.clip(state + MOVES[np.asarray(action, np.int64)], 0.0, self.cells - 1.0)

    def observe(self, state: Array) -> Array:
        """Return the cells, `[N, 2]`."""
        return state.copy()

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the reward on the goal, or the cost of the step."""
        return {"reward_goal": np.where(self.success(next_state, task), 1.0, -STEP_COST)}

    def success(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return who stands on the goal."""
        return np.all(next_state == task, axis=-1)

    def draw(self, state: Array, task: Array, size: int) -> Frame:
        """Show the cells, the goal in red and the position as a blue disc."""
        plane, width = Plane(1.0, size), 1.8 / self.cells
        for x, y in np.ndindex(self.cells, self.cells):
            left, low = -0.9 + x * width, -0.9 + y * width
            colour = RED if (x, y) == tuple(task) else GREY
            plane.box((left + 0.05 * width, low + 0.05 * width), (left + 0.95 * width, low + 0.95 * width), colour)
        x, y = -0.9 + (state + 0.5) * width
        plane.disc(x, y, 0.3 * width, BLUE)
        return plane.frame


GridNavigationEnv, GridNavigationVectorEnv = make_envs(GridNavigation)
