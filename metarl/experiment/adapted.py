"""From a training's meta-params to a policy that acts in one task."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from metarl.errors import UserError, check_counts
from metarl.experiment.config import Config
from metarl.experiment.players import make_player
from metarl.experiment.training import Trainer
from metarl.players import Player
from metarl.predict import AdaptedPolicy
from metarl.streams import TEST, task_rngs


def policy_before(trainer: Trainer) -> AdaptedPolicy:
    """Return the policy before adaptation."""
    player = cast(Player, trainer.player)
    return AdaptedPolicy(trainer.policy, player.start(trainer.params), _shape(player))


def policy_for(
    trainer: Trainer, task: Any, steps: int | None = None, episodes: int | None = None, seed: int = 0
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
    config = cast(Config, trainer.config)
    steps = config.learner.inner_steps if steps is None else steps
    episodes = config.episodes if episodes is None else episodes
    check_counts(steps=(steps, 0), episodes=(episodes, 1), seed=(seed, 0))
    player = make_player(config, trainer.source, 1, episodes)
    tasks = np.asarray(task, dtype=np.float64).reshape(1, -1)
    try:
        player.sampler.env.set_tasks(np.repeat(tasks, episodes, axis=0))  # refuses what is no task
        adapted = player.adapted(trainer.params, tasks, task_rngs(seed, TEST, 1, [0]), steps)
    except FloatingPointError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error
    finally:
        player.close()
    return AdaptedPolicy(trainer.policy, adapted, _shape(player), seed)


def _shape(player: Player) -> tuple[int, ...]:
    return player.sampler.env.single_observation_space.shape
