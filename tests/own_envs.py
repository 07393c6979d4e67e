"""Environments as a user would bring them: single, with the three task methods, any ends."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Corridor(gymnasium.Env):
    """Walk left or right; the task says which end pays. Discrete actions, ends early."""

    observation_space = spaces.Box(-5.0, 5.0, (1,))
    action_space = spaces.Discrete(2)
    task_space = spaces.Box(-1.0, 1.0, (1,), np.float64)

    def __init__(self, fault: str = "none"):
        self.fault = fault

    def sample_tasks(self, n, rng):
        return rng.choice([-1.0, 1.0], size=(n, 1))

    def set_task(self, task):
        self.task = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.integers(-1, 2), 0
        return np.array([self.x], dtype=np.float32), {}

    def step(self, action):
        self.x += 2 * int(action) - 1
        self.t += 1
        reward = float(self.task[0]) * self.x
        if self.fault == "reward" and self.t == 3:
            reward = float("nan")
        obs = np.array([np.nan if self.fault == "observation" and self.t == 2 else self.x], dtype=np.float32)
        return obs, reward, abs(self.x) >= 3, False, {}


class Endless(Corridor):
    """Never ends and has no time limit."""

    def step(self, action):
        obs, reward, _, truncated, info = super().step(action)
        return np.clip(obs, -5, 5), reward, False, truncated, info
