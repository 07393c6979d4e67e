"""From a configuration to the inner loop of policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from metarl.errors import UserError
from metarl.experiment.memory import check_memory
from metarl.experiment.parts import Parts
from metarl.methods import VariBAD, method_name
from metarl.rl.advantages import BASELINES, Baseline, picture_baseline
from metarl.rl.belief import BeliefPolicy
from metarl.rl.belief_bound import BeliefGradient
from metarl.rl.environments import make_vec
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.rl.lifetimes import LifetimeGradient
from metarl.rl.losses import InnerLoss, PolicyGradient
from metarl.rl.memory_loop import MemoryInnerLoop
from metarl.rl.own_policy import make_own_policy
from metarl.rl.picture_policy import is_picture, make_picture_policy
from metarl.rl.policies import make_policy
from metarl.rl.recurrent import RecurrentPolicy
from metarl.rl.sampler import Sampler

if TYPE_CHECKING:
    from metarl.experiment.base_config import Settings
    from metarl.experiment.config import Config


def check_device(device: str) -> None:
    """Refuse a device that cannot be used.

    Raises:
        UserError: If it cannot.
    """
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


MOST_THREADS = 4
"""Threads of Python that share the tasks of a process, at most: they take turns in what is Python."""


def threads_for_tasks(config: Settings, parts: Parts) -> int:
    """Return among how many threads the tasks are shared: as many as torch may use, where nothing speaks against it.

    A user's objects may not be safe in threads. Environments in Python gain nothing from them, nor does a memory that
    takes hundreds of small steps in turn: two threads took twice the time of one.
    """
    if config.own_modules or parts != Parts() or config.device != "cpu" or not config.batched:
        return 1
    if config.method.remembers:
        return 1
    return max(1, min(torch.get_num_threads(), config.tasks // 2, MOST_THREADS))


def build_inner_loop(config: Config, parts: Parts, tasks: int, episodes: int) -> PolicyInnerLoop:
    """Build the inner loop of `tasks` tasks with `episodes` episodes each under this configuration.

    Args:
        config: The run's configuration.
        parts: Objects that it names.
        tasks: Number of tasks.
        episodes: Episodes in each of them.

    Raises:
        UserError: If the environment, the policy or the device cannot be used, or memory would not suffice.
    """
    check_device(config.device)
    parts.check(config.named_parts)
    check_memory(config, tasks, episodes, own_policy=parts.policy is not None)
    env = make_vec(parts.source(config.env), tasks * episodes, **config.vectorised)
    horizon = getattr(env, "max_episode_steps", None)
    if horizon is None:
        raise UserError(f"environment {config.env!r} has no time limit; give a horizon")
    spaces = (env.single_observation_space, env.single_action_space)
    rest: dict[str, Any] = {
        **{name: getattr(config, name) for name in ("method", "discount", "gae_lambda", "device", "later_lr")},
        "baseline": _baseline(config, parts, spaces[0]),
    }
    if config.method.remembers:
        if is_picture(spaces[0]):
            raise UserError(f"{method_name(config.method)} takes no pictures, got observations {spaces[0]}")
        if not config.hidden:
            raise UserError(f"{method_name(config.method)} needs a memory; give hidden at least one width")
        losses = _with_memory(config, spaces)
        return MemoryInnerLoop(Sampler(env, losses.policy, tasks, episodes, horizon), losses, **rest)
    policy = _policy(config, parts, *spaces)
    # the device's copy shares the CPU policy's architecture only: params always come as arguments
    sampler = Sampler(env, policy, tasks, episodes, horizon)
    inner_loss: InnerLoss = config.inner_loss if parts.inner_loss is None else parts.inner_loss
    return PolicyInnerLoop(sampler, PolicyGradient(policy, inner_loss, config.reward_coef), **rest)


def _with_memory(config: Config, spaces: tuple[Any, Any]) -> LifetimeGradient:
    """Return the losses of a policy with a memory, and in them the policy."""
    method: Any = config.method
    usual = (*spaces, config.hidden, config.seed, config.init_std, config.action_scale)
    if isinstance(method, VariBAD):
        believing = BeliefPolicy(*usual, method.latent, method.decoder)
        return BeliefGradient(believing, points=method.elbo_points, kl_coef=method.kl_coef)
    embedding, critic = getattr(method, "embedding", 0), getattr(method, "vf_coef", 0.0) > 0
    unit: tuple[Any, ...] = getattr(method, "truncation", 0), getattr(method, "memory", "gru")
    return LifetimeGradient(RecurrentPolicy(*usual, embedding, critic, *unit))


def _policy(config: Config, parts: Parts, observations: Any, actions: Any) -> Any:
    if parts.policy is not None:
        return make_own_policy(parts.policy, observations, actions, config.seed, config.action_scale)
    usual = (observations, actions, config.hidden, config.seed, config.init_std, config.action_scale)
    look = (config.activation, config.layer_norm, config.last_layer_std, config.context_size)
    if not is_picture(observations):
        return make_policy(*usual, *look, config.reward_coef > 0)
    if config.reward_coef:
        raise UserError(f"reward_coef={config.reward_coef} is not for pictures, got observations {observations}")
    return make_picture_policy(*usual, *look)


def _baseline(config: Config, parts: Parts, observations: Any) -> Baseline:
    if parts.baseline is not None:
        return parts.baseline
    if is_picture(observations):
        return picture_baseline(config.baseline, observations.shape)
    return BASELINES[config.baseline]
