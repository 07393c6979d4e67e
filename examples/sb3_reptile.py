"""Reptile over stable-baselines3's PPO: params from which PPO learns a task sooner than from its own beginning."""

import sys

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3 import PPO

import metarl.sb3

QUICK = "--quick" in sys.argv
ITERATIONS, TASKS = (1, 1) if QUICK else (15, 5)


class Ahead(gymnasium.Env):
    """Walk to a goal and stay there: ahead in every task, but nobody says how far."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    task_space = spaces.Box(1.0, 3.0, (1,), np.float64)

    def sample_tasks(self, n, rng):
        return rng.uniform(1.0, 3.0, (n, 1))

    def set_task(self, task):
        self.goal = float(task[0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = np.zeros(1, np.float32)
        return self.x, {}

    def step(self, action):
        self.x = self.x + 0.5 * np.clip(action, -1, 1)
        return self.x, -float(abs(self.x[0] - self.goal)), False, False, {}


ppo = {"learning_rate": 3e-3, "batch_size": 80, "gamma": 0.9, "policy_kwargs": {"net_arch": [16]}}
size = {"horizon": 10, "k": 320, "epsilon": 0.5, "decay_iterations": ITERATIONS}
reptile = metarl.sb3.Reptile(Ahead, PPO, seed=0, **size, **ppo)
scratch = reptile.adaptation_curve(steps=2, tasks=TASKS)  # nothing is learned yet: this is PPO from scratch
reptile.learn(ITERATIONS)
curve = reptile.adaptation_curve(steps=2, tasks=TASKS)
for name, found in (("PPO from scratch", scratch), ("PPO after Reptile", curve)):
    print(f"{name}: return", " -> ".join(f"{mean:.1f}" for mean in found.mean), f"({found.unit})")

reptile.save("meta.zip")  # an ordinary PPO model
adapted, meta = reptile.adapt([1.5], steps=960), PPO.load("meta.zip")
for x in (0.0, 1.0, 2.0):
    moves = [model.predict(np.array([x], np.float32), deterministic=True)[0][0] for model in (meta, adapted)]
    print(f"at {x}: moves by {0.5 * moves[0]:+.2f} before and {0.5 * moves[1]:+.2f} after learning the goal 1.5")
reptile.close()
