"""From a training's meta-params to a policy that acts in one task."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import torch
from gymnasium import Env
from numpy.typing import NDArray

from metarl.core.params import Params
from metarl.errors import UserError, check_counts
from metarl.experiment.config import Config
from metarl.experiment.trainer import Trainer
from metarl.rl.adapted_policy import AdaptedPolicies, AdaptedPolicy
from metarl.rl.environments import make_single
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.rl.recurrent import Memory
from metarl.seeding import TEST, task_rngs

PolicyTrainer = Trainer[Config, PolicyInnerLoop]
"""The training of a policy."""


def single_env(trainer: PolicyTrainer, **options: Any) -> Env:
    """Make one environment of the kind that is trained in, with further options."""
    c = trainer.config
    return make_single(trainer.parts.source(c.env), c.horizon, {**c.env_options, **options})


def policy_before(trainer: PolicyTrainer) -> AdaptedPolicy:
    """Return the policy before adaptation."""
    inner_loop, about = trainer.inner_loop, f"on {trainer.config.env}: before adaptation"
    return AdaptedPolicy(trainer.network, inner_loop.start(trainer.params), _shape(inner_loop), about=about)


def policy_for(
    trainer: PolicyTrainer, task: Any, steps: int | None = None, episodes: int | None = None, seed: int = 0
) -> AdaptedPolicy:
    """Play a task, take gradient steps, and return the adapted policy; the meta-params stay as they are.

    Args:
        trainer: The training, of a policy.
        task: The task, `[d]`.
        steps: Gradient steps; by default as many as in training.
        episodes: Episodes a step; by default as many as in training. A memory sees one at a time.
        seed: Chooses the episodes.

    Raises:
        UserError: If a number is out of range or the task none of the environment's.
    """
    return policies_for(trainer, _numbers(task).reshape(1, -1), steps, episodes, seed)[0]


def policies_for(
    trainer: PolicyTrainer, tasks: Any, steps: int | None = None, episodes: int | None = None, seed: int = 0
) -> AdaptedPolicies:
    """Play tasks `[K, d]` side by side and return the policy adapted to each; see `policy_for`.

    The first task's is that of `policy_for`, bit for bit; each other one's episodes have random numbers of their own.
    """
    config = trainer.config
    steps = config.method.inner_steps if steps is None else steps
    episodes = config.episodes if episodes is None else episodes
    check_counts(steps=(steps, 0), episodes=(episodes, 1), seed=(seed, 0))
    episodes = 1 if config.method.remembers else episodes
    tasks = _numbers(tasks)
    if tasks.ndim != 2 or not len(tasks):
        raise UserError(f"tasks are numbers [n, d] with n of 1 or more, got shape {list(tasks.shape)}")
    with closing(trainer.build_inner_loop(tasks=len(tasks), episodes=episodes)) as inner_loop:
        inner_loop.check_tasks(tasks)
        rngs = task_rngs(seed, TEST, 1, range(len(tasks)))
        adapted = inner_loop.adapted(trainer.params, tasks, rngs, steps)
    if isinstance(adapted, Memory):
        each: list[Params | Memory] = [adapted.of(torch.tensor([k])) for k in range(len(tasks))]
    else:
        each = [{name: value[k : k + 1] for name, value in adapted.items()} for k in range(len(tasks))]
    seeds = [seed, *([seed, k] for k in range(1, len(tasks)))]
    policies = [
        AdaptedPolicy(trainer.network, own, _shape(inner_loop), own_seed, _about(config, 1, steps, episodes))
        for own, own_seed in zip(each, seeds, strict=True)
    ]
    return AdaptedPolicies(policies, adapted, seed, _about(config, len(tasks), steps, episodes))


def _about(config: Config, tasks: int, steps: int, episodes: int) -> str:
    """Return in words what policies have adapted to."""
    s, each = "s" * (steps != 1), f" of {episodes} episode{'s' * (episodes != 1)}"
    seen = f"{steps} episode{s} seen" if config.method.remembers else f"{steps} gradient step{s}{each}"
    return f"on {config.env}: {tasks} task{'s' * (tasks != 1)}, {seen}"


def _numbers(task: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(task, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"a task is numbers [d], got {task!r}") from error


def _shape(inner_loop: PolicyInnerLoop) -> tuple[int, ...]:
    return inner_loop.sampler.env.single_observation_space.shape
