"""What a meta-policy must beat: policies that stable-baselines3's PPO trains on the same tasks."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3 import PPO

from metarl.evaluation import AdaptationCurve
from metarl.experiment.config import Config
from metarl.players import HELD_OUT
from metarl.rl.make import make_vec
from metarl.rl.sb3 import SB3VecEnv

Baseline = Literal["pretrained", "oracle"]
"""One policy for all tasks, to be fine-tuned by gradient steps; or one that observes the task."""


def train_baseline(kind: Baseline, config: Config, budget: int) -> PPO:
    """Train PPO on the task distribution, with the policy network of a configuration.

    Every episode has a new task.

    Args:
        kind: Whether the policy observes the task.
        config: Environment, network, seed and size of a batch.
        budget: Environment steps.
    """
    rows = config.tasks * config.episodes
    env = make_vec(
        config.env,
        rows,
        horizon=config.horizon,
        autoreset_mode=AutoresetMode.SAME_STEP,
        vectorization=config.vectorization,
        **config.env_options,
    )
    rng = np.random.default_rng(config.seed)
    vec = SB3VecEnv(env, resample=rng, observe_task=kind == "oracle", action_scale=config.action_scale)
    steps = 100
    model = PPO(
        "MlpPolicy",
        vec,
        n_steps=steps,
        batch_size=rows * steps // 16,
        gamma=config.discount,
        learning_rate=1e-3,
        seed=config.seed,
        device="cpu",
        policy_kwargs={"net_arch": list(config.hidden), "log_std_init": float(np.log(config.init_std))},
    )
    model.learn(budget)
    return model


def oracle_curve(model: PPO, config: Config, steps: int, tasks: int, episodes: int, seed: int) -> AdaptationCurve:
    """Return the oracle's returns on held-out tasks as a curve, which is flat: it has nothing to adapt to."""
    env = make_vec(
        config.env,
        tasks * episodes,
        horizon=config.horizon,
        autoreset_mode=AutoresetMode.SAME_STEP,
        vectorization=config.vectorization,
        **config.env_options,
    )
    vec = SB3VecEnv(env, observe_task=True, action_scale=config.action_scale)
    drawn = vec.vector.sample_tasks(tasks, np.random.default_rng(np.random.SeedSequence([seed, HELD_OUT])))  # type: ignore
    vec.vector.set_tasks(np.repeat(drawn, episodes, axis=0))  # type: ignore[attr-defined]
    torch.manual_seed(seed)  # stable-baselines3 samples actions from torch's global generator
    vec.seed(seed)
    total, env_steps = _first_episodes(model, vec)
    per_task = total.reshape(tasks, episodes).mean(1)
    return AdaptationCurve(config.env, np.repeat(per_task[:, None], steps + 1, axis=1), env_steps)


def _first_episodes(model: PPO, vec: SB3VecEnv) -> tuple[NDArray[np.float64], int]:
    """Play one episode in every row; returns their returns and the steps taken."""
    obs = vec.reset()
    total, alive, env_steps = np.zeros(vec.num_envs), np.ones(vec.num_envs, np.bool_), 0
    while alive.any():
        action, _ = model.predict(obs)  # type: ignore[arg-type]
        obs, reward, done, _ = vec.step(action)
        total += reward * alive
        env_steps += int(alive.sum())
        alive &= ~done
    return total, env_steps
