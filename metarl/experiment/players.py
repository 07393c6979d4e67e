"""From a configuration to what plays its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch

from metarl.errors import UserError
from metarl.experiment.config import Config, FewShotConfig
from metarl.fewshot.folders import read_folder
from metarl.fewshot.glyphs import glyphs
from metarl.fewshot.images import SIDE, Classes
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.networks import MLP, ConvNet
from metarl.fewshot.sinusoid import Sinusoids
from metarl.learners import RL2
from metarl.learners.learner import StepLearner
from metarl.lifetimes import LifetimePlayer
from metarl.players import AnyPlayer, Player
from metarl.rl.losses import PolicyGradient
from metarl.rl.make import EnvSource, make_vec, register
from metarl.rl.policies import make_policy
from metarl.rl.recurrent import LifetimeGradient, RecurrentPolicy
from metarl.rl.sampler import Sampler
from metarl.supervised import ShotPlayer


def check_device(device: str) -> None:
    """Refuse a device that cannot be used.

    Raises:
        UserError: If it cannot.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


@dataclass(frozen=True)
class PlayerMaker:
    """Builds players under one configuration, in this process or, pickled, in another one."""

    config: Config | FewShotConfig
    source: EnvSource
    registration: Any = None
    """What this process knows of the environment's id, which another one may not have heard of."""

    def __call__(self, held_out: bool = False, tasks: int | None = None, episodes: int | None = None) -> AnyPlayer:
        """Build what plays training or held-out tasks; by default as many as the configuration says."""
        c = self.config
        if isinstance(c, FewShotConfig):
            return make_shot_player(c, tasks, held_out)
        register(self.registration)
        usual = (c.eval_tasks, c.eval_episodes) if held_out else (c.tasks, c.episodes)
        return make_player(c, self.source, tasks or usual[0], episodes or usual[1])


def make_player(config: Config, source: EnvSource, tasks: int, episodes: int) -> Player:
    """Build what plays `tasks` tasks with `episodes` episodes each under this configuration.

    Args:
        config: The run's configuration.
        source: What to make environments from.
        tasks: Number of tasks.
        episodes: Episodes in each of them.

    Raises:
        UserError: If the environment or the device cannot be used.
    """
    check_device(config.device)
    options = cast(dict[str, Any], config.env_options)
    env = make_vec(source, tasks * episodes, horizon=config.horizon, vectorization=config.vectorization, **options)
    horizon = getattr(env, "max_episode_steps", None)
    if horizon is None:
        raise UserError(f"environment {config.env!r} has no time limit; give a horizon")
    rules = (config.init_std, config.action_scale)
    spaces = (env.single_observation_space, env.single_action_space)
    rest = (config.learner, config.discount, config.gae_lambda, config.device, config.baseline, config.later_lr)
    if isinstance(config.learner, RL2):
        if not config.hidden:
            raise UserError("rl2 needs a memory; give hidden at least one width")
        memory = RecurrentPolicy(*spaces, config.hidden, config.seed, *rules)
        return LifetimePlayer(Sampler(env, memory, tasks, episodes, horizon), LifetimeGradient(memory), *rest)
    policy = make_policy(*spaces, config.hidden, config.seed, *rules)
    # the device's copy shares the CPU policy's architecture only: params always come as arguments
    sampler = Sampler(env, policy, tasks, episodes, horizon)
    return Player(sampler, PolicyGradient(policy, config.inner_loss), *rest)


def make_shot_player(config: FewShotConfig, tasks: int | None = None, held_out: bool = False) -> ShotPlayer:
    """Build what draws the examples of supervised tasks under this configuration.

    Args:
        config: The run's configuration.
        tasks: Number of tasks; by default those of training or of an evaluation.
        held_out: Whether to evaluate: on `eval_queries`, and with the same examples in every inner step.

    Raises:
        UserError: If the device cannot be used, or there are too few pictures.
    """
    check_device(config.device)
    queries = config.eval_queries if held_out else config.queries
    source, problem = (_classification if config.pictures else _regression)(config, queries, held_out)
    learner = cast(StepLearner, config.learner)
    number = tasks or (config.eval_tasks if held_out else config.tasks)
    # Reptile's steps see new examples each, the others the same few (Nichol et al. 2018, section 3)
    fresh = not (learner.plays_query or held_out)
    return ShotPlayer(source, problem, learner, number, fresh, config.device, config.later_lr)


def _regression(config: FewShotConfig, queries: int, held_out: bool) -> tuple[Sinusoids, Regression]:
    source = Sinusoids(config.shots, queries, config.oracle)
    return source, Regression(MLP((source.inputs,), config.hidden, 1, config.seed))


def _classification(config: FewShotConfig, queries: int, held_out: bool) -> tuple[Classes, Classification]:
    if config.data != "glyphs" and not config.folder:
        raise UserError(f"data {config.data} need --folder, where their pictures lie")
    pictures = glyphs(held_out) if config.data == "glyphs" else read_folder(config.folder, held_out)
    rotations = config.data == "omniglot" and not held_out
    try:
        source = Classes(pictures, config.ways, config.shots, queries, rotations)
    except UserError as error:
        raise UserError(f"held-out classes: {error}" if held_out else str(error)) from error
    if config.network == "conv":
        return source, Classification(ConvNet(config.filters, config.ways, config.seed))
    return source, Classification(MLP((1, SIDE, SIDE), config.hidden, config.ways, config.seed))
