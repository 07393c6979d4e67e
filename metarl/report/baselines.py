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
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve, Evaluation
from metarl.experiment import checkpoint
from metarl.experiment.checkpoint import Checkpoint
from metarl.experiment.config import Config
from metarl.experiment.config_file import as_dict
from metarl.rl.environments import make_vec
from metarl.rl.policies import ACTIVATIONS
from metarl.sb3.episodes import first_episodes
from metarl.sb3.vec_env import SB3VecEnv
from metarl.seeding import draw_tasks

Baseline = Literal["pretrained", "oracle"]
"""One policy for all tasks, to be fine-tuned by gradient steps; or one that observes the task."""

SEEN = "observations."
"""How the names of the observations' moments begin in the file of a baseline."""


def train_baseline(kind: Baseline, config: Config, budget: int) -> tuple[PPO, list[tuple[int, float]]]:
    """Train PPO on the task distribution, with the policy network of a configuration.

    Every episode has a new task. Rewards are divided by the running deviation of the return, the learning rate falls
    to 0, and the oracle's observations are normalised as well (`VecNormalize`); those of a policy that gradient steps
    will fine-tune are not, because a network of ours takes them as they are.

    Args:
        kind: Whether the policy observes the task.
        config: Environment, network, seed and size of a batch.
        budget: Environment steps.

    Returns:
        The model, and its learning curve: environment steps and mean undiscounted return of each rollout.
    """
    rng = np.random.default_rng(config.seed)
    vec = _environments(config, config.tasks * config.episodes, resample=rng, observe_task=kind == "oracle")
    normalised = VecNormalize(VecMonitor(vec), norm_obs=kind == "oracle", gamma=config.discount)
    model = _ppo(config, normalised, 100, batches=16, decay=True)
    curve = _LearningCurve()
    model.learn(budget, curve)
    return model, curve.points


def cached_baseline(kind: Baseline, config: Config, budget: int, folder: Path) -> tuple[PPO, float]:
    """Train a baseline, or load it if the folder holds it already; returns it and the seconds it took.

    It is kept as numbers and JSON (`ppo.safetensors`): stable-baselines3's own files are pickles, which run what is
    in them. Its learning curve stands beside it, in `learning.csv`.
    """
    file = folder / "ppo.safetensors"
    made_with = json.loads(json.dumps({"kind": kind, "version": 2, "config": as_dict(config), "budget": budget}))
    with suppress(UserError, RuntimeError, KeyError, TypeError, ValueError):  # not there, cut off, or of another kind
        saved = checkpoint.load(file)
        if saved.config == made_with:
            return _restored(kind, config, saved), float(saved.state["seconds"])
    started = time.perf_counter()
    model, curve = train_baseline(kind, config, budget)
    seconds = time.perf_counter() - started
    state = {"env_steps": model.num_timesteps, "seconds": seconds}
    lines = [f"{env_steps},{value!r}" for env_steps, value in curve]
    checkpoint.save(Checkpoint(dict(model.policy.state_dict()) | _normalisation(model), made_with, state), file)
    checkpoint.write_atomically(folder / "learning.csv", "\n".join(["steps,return", *lines, ""]).encode())
    return model, seconds


def _normalisation(model: PPO) -> dict[str, torch.Tensor]:
    """Return the mean and variance by which observations are normalised, if they are."""
    seen = _observed(model)
    return {} if seen is None else {f"{SEEN}{name}": torch.from_numpy(getattr(seen, name)) for name in ("mean", "var")}


def _observed(model: PPO) -> RunningMeanStd | None:
    """Return the running moments of the observations, if the model has its observations normalised."""
    vec = model.get_vec_normalize_env()
    return vec.obs_rms if vec is not None and vec.norm_obs else None  # type: ignore[return-value]


def _restored(kind: Baseline, config: Config, saved: Checkpoint) -> PPO:
    """Return a model as it was after training."""
    vec = VecNormalize(_environments(config, 1, observe_task=kind == "oracle"), norm_obs=kind == "oracle")
    model = _ppo(config, vec, 100, batches=10)
    seen = _observed(model)
    if seen is not None:
        for name in ("mean", "var"):
            setattr(seen, name, saved.params[f"{SEEN}{name}"].numpy())
    model.policy.load_state_dict({name: value for name, value in saved.params.items() if not name.startswith(SEEN)})
    model.num_timesteps = int(saved.state["env_steps"])
    return model


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


def oracle_curve(model: PPO, config: Config, how: Evaluation, tasks: int, episodes: int) -> AdaptationCurve:
    """Return the oracle's returns on held-out tasks as a curve, which is flat: it has nothing to adapt to."""
    vec = _environments(config, tasks * episodes, observe_task=True)
    drawn = draw_tasks(cast(Any, vec.vector), tasks, how.seed, how.stream)
    vec.vector.set_tasks(np.repeat(drawn, episodes, axis=0))  # type: ignore[attr-defined]
    torch.manual_seed(how.seed)  # stable-baselines3 samples actions from torch's global generator
    vec.seed(how.seed)
    total, env_steps = first_episodes(model, _normalised_alike(vec, model))
    per_task = total.reshape(tasks, episodes).mean(1)
    return AdaptationCurve(how.env, np.repeat(per_task[:, None], how.steps + 1, axis=1), env_steps, tasks=drawn)


def _normalised_alike(vec: SB3VecEnv, model: PPO) -> VecEnv:
    """Return environments whose observations are normalised as those that the model learned from; rewards are not."""
    seen = _observed(model)
    if seen is None:
        return vec
    normalised = VecNormalize(vec, training=False, norm_reward=False)
    normalised.obs_rms = seen
    return normalised


def _environments(config: Config, rows: int, **options: Any) -> SB3VecEnv:
    env = make_vec(config.env, rows, autoreset_mode=AutoresetMode.SAME_STEP, **config.vectorised)
    return SB3VecEnv(env, action_scale=config.action_scale, **options)


def _ppo(config: Config, vec: Any, steps: int, batches: int, decay: bool = False) -> PPO:
    """Return PPO with the policy network of a configuration, which learns from so many steps of each row at a time."""
    rate = 1e-3
    return PPO(
        "MlpPolicy",
        vec,
        n_steps=steps,
        batch_size=max(vec.num_envs * steps // batches, 2),
        gamma=config.discount,
        learning_rate=(lambda remaining: rate * remaining) if decay else rate,
        seed=config.seed,
        device="cpu",
        policy_kwargs={
            "net_arch": list(config.hidden),
            "activation_fn": ACTIVATIONS[config.activation],
            "log_std_init": float(np.log(config.init_std)),
        },
    )
