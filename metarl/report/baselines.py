"""What a meta-policy must beat: policies that stable-baselines3's PPO trains on the same tasks."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment import checkpoint
from metarl.experiment.checkpoint import Checkpoint
from metarl.experiment.config import Config
from metarl.experiment.config_file import as_dict
from metarl.rl.environments import make_vec
from metarl.rl.policies import ACTIVATIONS
from metarl.sb3.episodes import first_episodes
from metarl.sb3.vec_env import SB3VecEnv
from metarl.seeding import TEST, draw_tasks

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
    rng = np.random.default_rng(config.seed)
    vec = _environments(config, config.tasks * config.episodes, resample=rng, observe_task=kind == "oracle")
    model = _ppo(config, vec, 100, batches=16)
    model.learn(budget)
    return model


def cached_baseline(kind: Baseline, config: Config, budget: int, folder: Path) -> tuple[PPO, float]:
    """Train a baseline, or load it if the folder holds it already; returns it and the seconds it took.

    It is kept as numbers and JSON (`ppo.safetensors`): stable-baselines3's own files are pickles, which run what is
    in them.
    """
    file = folder / "ppo.safetensors"
    made_with = json.loads(json.dumps({"kind": kind, "config": as_dict(config), "budget": budget}))
    with suppress(UserError, RuntimeError, KeyError, TypeError, ValueError):  # not there, cut off, or of another kind
        saved = checkpoint.load(file)
        if saved.config == made_with:
            model = _ppo(config, _environments(config, 1, observe_task=kind == "oracle"), 100, batches=10)
            model.policy.load_state_dict(saved.params)
            model.num_timesteps = int(saved.state["env_steps"])
            return model, float(saved.state["seconds"])
    started = time.perf_counter()
    model = train_baseline(kind, config, budget)
    seconds = time.perf_counter() - started
    state = {"env_steps": model.num_timesteps, "seconds": seconds}
    checkpoint.save(Checkpoint(dict(model.policy.state_dict()), made_with, state), file)
    return model, seconds


def learn_from_scratch(config: Config, budget: int, task: NDArray[np.float64]) -> list[tuple[int, float]]:
    """Train PPO on one task; returns its learning curve: environment steps and mean return of each of its rollouts.

    PPO learns from as many episodes at a time as an inner step of the configuration.

    Args:
        config: Environment, network, seed and size of a batch.
        budget: Environment steps.
        task: The task `[d]`.
    """
    vec = _environments(config, config.episodes)
    vec.vector.set_tasks(np.tile(task, (config.episodes, 1)))  # type: ignore[attr-defined]
    horizon = config.horizon or vec.vector.max_episode_steps  # type: ignore[attr-defined]
    model = _ppo(config, VecMonitor(vec), horizon, batches=4)
    curve = _LearningCurve()
    model.learn(budget, curve)
    return curve.points


class _LearningCurve(BaseCallback):
    """Notes the mean return of the episodes that each rollout finished."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, float]] = []
        self._returns: list[float] = []

    def _on_step(self) -> bool:
        self._returns += [float(info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        return True

    def _on_rollout_end(self) -> None:
        if self._returns:
            self.points.append((self.num_timesteps, float(np.mean(self._returns))))
        self._returns = []


def oracle_curve(
    model: PPO, config: Config, steps: int, tasks: int, episodes: int, seed: int, stream: int = TEST
) -> AdaptationCurve:
    """Return the oracle's returns on held-out tasks as a curve, which is flat: it has nothing to adapt to."""
    vec = _environments(config, tasks * episodes, observe_task=True)
    drawn = draw_tasks(cast(Any, vec.vector), tasks, seed, stream)
    vec.vector.set_tasks(np.repeat(drawn, episodes, axis=0))  # type: ignore[attr-defined]
    torch.manual_seed(seed)  # stable-baselines3 samples actions from torch's global generator
    vec.seed(seed)
    total, env_steps = first_episodes(model, vec)
    per_task = total.reshape(tasks, episodes).mean(1)
    return AdaptationCurve(config.env, np.repeat(per_task[:, None], steps + 1, axis=1), env_steps)


def _environments(config: Config, rows: int, **options: Any) -> SB3VecEnv:
    env = make_vec(
        config.env,
        rows,
        horizon=config.horizon,
        autoreset_mode=AutoresetMode.SAME_STEP,
        vectorization=config.vectorization,
        **config.env_options,
    )
    return SB3VecEnv(env, action_scale=config.action_scale, **options)


def _ppo(config: Config, vec: Any, steps: int, batches: int) -> PPO:
    """Return PPO with the policy network of a configuration, which learns from so many steps of each row at a time."""
    return PPO(
        "MlpPolicy",
        vec,
        n_steps=steps,
        batch_size=max(vec.num_envs * steps // batches, 2),
        gamma=config.discount,
        learning_rate=1e-3,
        seed=config.seed,
        device="cpu",
        policy_kwargs={
            "net_arch": list(config.hidden),
            "activation_fn": ACTIVATIONS[config.activation],
            "log_std_init": float(np.log(config.init_std)),
        },
    )
