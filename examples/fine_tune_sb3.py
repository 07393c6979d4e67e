"""Adapt a pretrained policy to a task by one gradient step, then train it further with stable-baselines3's PPO."""

import sys

import gymnasium
import numpy as np
from stable_baselines3 import PPO

import metarl

QUICK = "--quick" in sys.argv
TASK, HORIZON, ROWS = 1.0, 100, 2 if QUICK else 16  # forward; the horizon the policy was trained with


def make_envs() -> metarl.SB3VecEnv:
    """Half-cheetahs, all on one task."""
    envs = gymnasium.make_vec(
        "metarl/HalfCheetahDir-v0", num_envs=ROWS, max_episode_steps=HORIZON, autoreset_mode="SameStep"
    )
    envs.unwrapped.set_tasks(np.full((ROWS, 1), TASK))
    return metarl.SB3VecEnv(envs)


def mean_return(policy, envs) -> float:
    """Mean return of one episode in each row, by the likeliest actions."""
    obs, total = envs.reset(), np.zeros(ROWS)
    for _ in range(HORIZON):
        actions, _ = policy.predict(obs, deterministic=True)
        obs, rew, _, _ = envs.step(actions)
        total += rew
    return float(total.mean())


model = metarl.load("pretrained:half-cheetah-dir")
model.export_sb3("forward.zip", task=[TASK])
envs = make_envs()
ppo = PPO.load("forward.zip", env=envs, custom_objects={"learning_rate": 3e-4})
print(f"after one gradient step: {mean_return(ppo, envs):.1f}")
ppo.learn(total_timesteps=200 if QUICK else 200_000)
print(f"after PPO: {mean_return(ppo, envs):.1f}")
ppo.save("forward-tuned.zip")
