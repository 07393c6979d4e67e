"""A task distribution and an algorithm of which the outcome is known."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO


class Ahead(gymnasium.Env):
    """Walk to a goal and stay there: ahead in every task, but nobody knows how far."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    task_space = spaces.Box(1.0, 3.0, (1,), np.float64)

    def sample_tasks(self, n, rng):
        return rng.uniform(1.0, 3.0, (n, 1))

    def set_task(self, task):
        if not self.task_space.contains(np.asarray(task)):
            raise ValueError(f"Ahead: task {task} is outside its task space")
        self.goal = float(task[0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 0.0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.x += 0.5 * float(np.clip(action[0], -1, 1))
        return np.array([self.x], np.float32), -abs(self.x - self.goal), False, False, {}


class Ends(Ahead):
    """Each step earns 1, until the first or the ninth."""

    def reset(self, *, seed=None, options=None):
        found = super().reset(seed=seed)
        self.left = int(self.np_random.choice([1, 9]))
        return found

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}


class AheadInSteps(Ahead):
    """The same with a choice between back and forth."""

    action_space = spaces.Discrete(2)

    def step(self, action):
        return super().step([2 * int(action) - 1])


class Halfway(PPO):
    """Learns nothing but to move all its params half of the way to the goal's distance."""

    fault = None

    def learn(self, total_timesteps, callback=None, **_):
        goal = self.env.venv.vector.tasks[0, 0]
        with torch.no_grad():
            for value in self.policy.parameters():
                value += 0.5 * ((goal if self.fault is None else self.fault) - value)
        self.num_timesteps += total_timesteps
        return self
