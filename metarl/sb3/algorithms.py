"""Algorithms of stable-baselines3, whichever they are: what they may be, their settings, and what learning changes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from metarl.errors import NotFinite, UserError, did_you_mean

Learnt = dict[str, dict[str, Tensor]]
"""Everything that learning changes and a saved model keeps, other than optimisers."""


def check_algorithm(algorithm: Any) -> None:
    """Refuse what is no class of an algorithm.

    Raises:
        UserError: If it is not.
    """
    if not isinstance(algorithm, type) or not issubclass(algorithm, BaseAlgorithm) or inspect.isabstract(algorithm):
        raise UserError(f"algorithm takes a class of stable-baselines3 such as PPO, SAC or DQN, got {algorithm!r}")


def is_on_policy(algorithm: type[BaseAlgorithm]) -> bool:
    """Return whether an algorithm learns from rollouts of the newest policy alone."""
    return issubclass(algorithm, OnPolicyAlgorithm)


def check_settings(algorithm: type[BaseAlgorithm], settings: Mapping[str, Any]) -> None:
    """Refuse settings that the algorithm does not have.

    Raises:
        UserError: If it lacks one; names the nearest.
    """
    known = inspect.signature(algorithm).parameters
    if not isinstance(settings.get("policy_kwargs") or {}, dict):
        raise UserError(f"policy_kwargs must be a dict, got {settings['policy_kwargs']!r}")
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in settings:
        if name not in known or name in ("env", "seed"):
            raise UserError(f"{algorithm.__name__} has no setting {name!r}{did_you_mean(name, known)}")


def with_steps(algorithm: type[BaseAlgorithm], settings: Mapping[str, Any], k: int, num_envs: int) -> dict[str, Any]:
    """Return the settings with rollouts of which k environment steps are a whole number.

    An on-policy algorithm gets for `n_steps` and `batch_size`, where they are not given, the most that leave no
    rest, up to its own defaults.

    Raises:
        UserError: If k is no whole number of rollouts; names the rollout's size and the nearest k.
    """
    known = inspect.signature(algorithm).parameters
    settings = dict(settings)
    if k % num_envs:
        nearest = max(round(k / num_envs), 1) * num_envs
        raise UserError(f"k must be a multiple of num_envs = {num_envs}, got {k}, the nearest is {nearest}")
    if is_on_policy(algorithm) and "n_steps" in known and "n_steps" not in settings:
        settings["n_steps"] = _divisor(k // num_envs, known["n_steps"].default)
    name = "n_steps" if is_on_policy(algorithm) else "train_freq"
    steps = settings.get(name, known[name].default if name in known else 1)
    if isinstance(steps, tuple) and steps[1] == "step":
        steps = steps[0]
    if isinstance(steps, int) and steps > 0 and k % (steps * num_envs):
        size = steps * num_envs
        nearest = max(round(k / size), 1) * size
        raise UserError(
            f"k must be a multiple of num_envs x {name} = {num_envs} x {steps} = {size},"
            f" which is what {algorithm.__name__} plays at a time; got {k}, the nearest is {nearest}"
        )
    if is_on_policy(algorithm) and "batch_size" in known and "batch_size" not in settings and isinstance(steps, int):
        settings["batch_size"] = _divisor(steps * num_envs, known["batch_size"].default)
    return settings


def _divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number that is no larger than `most`."""
    return max(divisor for divisor in range(1, min(number, most) + 1) if number % divisor == 0)


def make_algorithm(
    algorithm: type[BaseAlgorithm], vec: VecEnv, settings: Mapping[str, Any], title: str, seed: int
) -> BaseAlgorithm:
    """Make an algorithm, which seeds the global generators of Python, NumPy and torch, as all of its kind do.

    Raises:
        UserError: If it cannot learn in the environment, or a setting is none that it takes.
    """
    policy = "CnnPolicy" if is_image_space(vec.observation_space) else "MlpPolicy"
    copied = {name: dict(value) if isinstance(value, dict) else value for name, value in settings.items()}
    given = {"policy": policy, "device": "cpu", **copied}  # some of them write into policy_kwargs
    try:
        return algorithm(env=vec, seed=seed, **given)
    except (AssertionError, ValueError) as error:
        said = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", " ".join(str(error).split()))
        raise UserError(f"{algorithm.__name__} cannot learn in {title}: {said}") from error


def learnt(model: BaseAlgorithm) -> Learnt:
    """Return a copy of what learning has changed: the policy with all its networks, and loose tensors.

    Target networks are part of stable-baselines3's policies; SAC's entropy coefficient is a loose tensor.
    """
    loose = {name: recursive_getattr(model, name).detach().clone() for name in model._get_torch_save_params()[1]}
    policy = {name: value.detach().clone() for name, value in model.policy.state_dict().items()}
    return {"policy": policy, "loose": loose}


def set_learnt(model: BaseAlgorithm, values: Learnt) -> None:
    """Give a model what another of its kind has learnt; its optimisers and its replay buffer stay as they are."""
    model.policy.load_state_dict(values["policy"])
    for name, value in values["loose"].items():
        recursive_getattr(model, name).data.copy_(value)


def moved(start: Learnt, outcome: Learnt, epsilon: float) -> Learnt:
    """Return start + epsilon (outcome - start); counters, which are whole numbers, are those of the outcome."""

    def between(a: Tensor, b: Tensor) -> Tensor:
        return torch.lerp(a, b, epsilon) if a.is_floating_point() else b

    return {group: {name: between(a, outcome[group][name]) for name, a in start[group].items()} for group in start}


def distance(start: Learnt, outcome: Learnt) -> float:
    """Return the Euclidean distance between two of them."""
    squares = [
        (outcome[group][name] - value).double().square().sum()
        for group, values in start.items()
        for name, value in values.items()
        if value.is_floating_point()
    ]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


@contextmanager
def learning_stays_finite(model: BaseAlgorithm, task: Any) -> Iterator[None]:
    """Stop where learning makes a param that is not finite; torch's distributions refuse some of them earlier.

    Raises:
        NotFinite: If it does; names the task.
    """
    name, shown = type(model).__name__, np.asarray(task).tolist()
    diverged = f"{name} learned a param that is not finite in task {shown}; a smaller learning_rate may help"
    try:
        yield
    except ValueError as error:
        if _is_finite(model):
            raise
        raise NotFinite(diverged) from error
    if not _is_finite(model):
        raise NotFinite(diverged)


def _is_finite(model: BaseAlgorithm) -> bool:
    return all(bool(torch.isfinite(value).all()) for values in learnt(model).values() for value in values.values())
