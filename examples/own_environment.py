"""A task distribution of one's own: a thermostat in a room whose outside temperature nobody tells it."""

import sys

import gymnasium
import numpy as np
from gymnasium import spaces

import metarl

QUICK = "--quick" in sys.argv


class Room(gymnasium.Env):
    """Keep a room at 20 degrees; the task is the temperature outside."""

    observation_space = spaces.Box(-5.0, 5.0, (1,))
    action_space = spaces.Box(-1.0, 1.0, (1,))
    task_space = spaces.Box(-10.0, 30.0, (1,), np.float64)

    def sample_tasks(self, n, rng):
        return rng.uniform(-10.0, 30.0, size=(n, 1))

    def set_task(self, task):
        self.outside = float(task[0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.inside = 20.0 + self.np_random.normal()
        return self._observe(), {}

    def step(self, action):
        heating = 4.0 * float(np.clip(action[0], -1.0, 1.0))
        self.inside += 0.1 * (self.outside - self.inside) + heating
        return self._observe(), -abs(self.inside - 20.0), False, False, {}

    def _observe(self):
        return np.array([np.clip((self.inside - 20.0) / 10.0, -5.0, 5.0)], np.float32)


if __name__ == "__main__":
    size = {"tasks": 2, "episodes": 2} if QUICK else {"tasks": 20, "episodes": 10}
    model = metarl.MAML(Room, horizon=20, inner_lr=0.1, init_std=0.3, hidden=(32, 32), seed=0, **size)
    model.learn(iterations=2 if QUICK else 100)
    curve = metarl.adaptation_curve(model, steps=3, tasks=4 if QUICK else 40)
    print("return after 0, 1, 2 and 3 gradient steps:", curve.mean.round(1))
    winter = model.adapt(task=[-5.0])
    print("heating at 20 degrees when it is -5 outside:", winter.predict([0.0], deterministic=True)[0])
