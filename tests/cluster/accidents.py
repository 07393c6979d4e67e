"""An environment of a user's to which something happens."""

import os
import signal
import time
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces


class Corridor(gymnasium.Env):
    """Walk left or right; the task says which end pays, and its number is in it: 1, 2, 3, ... times the sign."""

    observation_space = spaces.Box(-9.0, 9.0, (1,))
    action_space = spaces.Discrete(2)
    task_space = spaces.Box(-9.0, 9.0, (1,), np.float64)
    resets = 0

    def __init__(self, accident: str = "none", marker: str = ""):
        self.accident, self.marker = accident, Path(marker)

    def sample_tasks(self, n, rng):
        return (rng.choice([-1.0, 1.0], size=n) * np.arange(1, n + 1))[:, None]

    def set_task(self, task):
        self.task = float(task[0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = 0, 0
        type(self).resets += 1
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.x += 2 * int(action) - 1
        self.t += 1
        if self.t == 3 and abs(self.task) == 4:
            self.have_accident()
        reward = np.nan if self.accident == "nan" and abs(self.task) == 4 else np.sign(self.task) * self.x
        return np.array([self.x], np.float32), reward, False, False, {}

    def have_accident(self):
        if self.accident == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.accident == "killed once" and type(self).resets > 12 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.accident == "hangs":
            time.sleep(3600)
        if self.accident == "raises":
            raise RuntimeError("the corridor is on fire")
