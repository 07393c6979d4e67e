"""Environments of a user's, with a fault each that shows in one task alone."""

from __future__ import annotations

import os

import gymnasium
import numpy as np
from gymnasium import spaces

GOALS = np.array([[0.1], [0.2], [0.3], [0.4]])
"""The tasks; the fault is in that of goal 0.2, which is task 1."""


class Line(gymnasium.Env):
    """Walk on a line to the task's goal.

    Args:
        fault: What goes wrong.
        step: The step in which it does.
    """

    observation_space = spaces.Box(-10.0, 10.0, (2,))
    action_space = spaces.Box(-1.0, 1.0, (1,))
    task_space = spaces.Box(0.0, 1.0, (1,), np.float64)

    def __init__(self, fault: str = "", step: int = 3) -> None:
        self.fault, self.at = fault, step
        if fault == "constructor":
            raise ZeroDivisionError("in the user's constructor")

    def sample_tasks(self, n, rng):
        return np.resize(GOALS, (n, 1))

    def set_task(self, task):
        self.goal = float(task[0])

    def observe(self):
        return np.array([self.x, self.t / 10], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.fault == "reset":
            raise ZeroDivisionError("in the user's reset")
        self.x, self.t = float(self.np_random.uniform(-0.1, 0.1)), 0
        return self.observe(), {}

    def step(self, action):
        self.t += 1
        self.x += 0.1 * float(action[0])
        obs, reward, done = self.observe(), -abs(self.x - self.goal), False
        if self.goal == 0.2 and self.t == self.at:
            obs, reward, done = self.go_wrong(obs, reward)
        return obs, reward, done, False, {}

    def go_wrong(self, obs, reward):
        kind, _, value = self.fault.partition(" ")
        if kind == "observation":
            obs[1] = float(value)
        elif kind == "end":  # what is observed after the last action is nobody's business
            return obs * np.nan, reward, True
        elif kind == "reward":
            reward = float(value)
        elif kind == "step":
            raise ZeroDivisionError("in the user's step")
        elif kind == "exit":
            os._exit(3)
        elif kind == "shape":
            obs = np.zeros(3, np.float32)
        elif kind == "text":
            obs = np.array(["a", "b"])
        elif kind == "none":
            reward = None
        elif kind == "vector":
            reward = np.zeros(2)
        return obs, reward, False


class Huge(Line):
    """Rewards are finite, their sum in task 1 is not in single precision."""

    def go_wrong(self, obs, reward):
        self.at += 1
        return obs, 3e38, False


def register() -> None:
    """Make `Line-v0` known to Gymnasium."""
    gymnasium.register("Line-v0", entry_point=Line, max_episode_steps=8)
