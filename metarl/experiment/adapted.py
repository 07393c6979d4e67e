"""From a training's meta-params to a policy that acts in one task."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Env

from metarl.errors import UserError, check_counts
from metarl.experiment.config import Config
from metarl.experiment.trainer import Trainer
from metarl.rl.adapted_policy import AdaptedPolicy
from metarl.rl.environments import make_single
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.seeding import TEST, task_rngs

PolicyTrainer = Trainer[Config, PolicyInnerLoop]
"""The training of a policy."""


def single_env(trainer: PolicyTrainer, **options: Any) -> Env:
    """Make one environment of the kind that is trained in, with further options."""
    c = trainer.config
    return make_single(trainer.parts.source(c.env), c.horizon, {**c.env_options, **options})


def policy_before(trainer: PolicyTrainer) -> AdaptedPolicy:
    """Return the policy before adaptation."""
    inner_loop = trainer.inner_loop
    return AdaptedPolicy(trainer.network, inner_loop.start(trainer.params), _shape(inner_loop))


def policy_for(
    trainer: PolicyTrainer, task: Any, steps: int | None = None, episodes: int | None = None, seed: int = 0
) -> AdaptedPolicy:
    """Play a task, take gradient steps, and return the adapted policy; the meta-params stay as they are.

    Args:
        trainer: The training, of a policy.
        task: The task, `[d]`.
        steps: Gradient steps; by default as many as in training.
        episodes: Episodes a step; by default as many as in training.
        seed: Chooses the episodes.

    Raises:
        UserError: If a number is out of range or the task none of the environment's.
    """
    config = trainer.config
    steps = config.method.inner_steps if steps is None else steps
    episodes = config.episodes if episodes is None else episodes
    check_counts(steps=(steps, 0), episodes=(episodes, 1), seed=(seed, 0))
    try:
        tasks = np.asarray(task, dtype=np.float64).reshape(1, -1)
    except (TypeError, ValueError) as error:
        raise UserError(f"a task is numbers [d], got {task!r}") from error
    inner_loop = trainer.build_inner_loop(tasks=1, episodes=episodes)
    try:
        inner_loop.sampler.env.set_tasks(np.repeat(tasks, episodes, axis=0))  # refuses what is no task
        adapted = inner_loop.adapted(trainer.params, tasks, task_rngs(seed, TEST, 1, [0]), steps)
    except FloatingPointError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error
    finally:
        inner_loop.close()
    return AdaptedPolicy(trainer.network, adapted, _shape(inner_loop), seed)


def _shape(inner_loop: PolicyInnerLoop) -> tuple[int, ...]:
    return inner_loop.sampler.env.single_observation_space.shape
