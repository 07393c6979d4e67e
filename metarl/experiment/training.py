"""The state of a run and one meta-iteration of it; files and logs are elsewhere."""

from __future__ import annotations

import time
from typing import Any, cast

import torch

from metarl.core import params as P
from metarl.core.adam import State
from metarl.core.params import Params
from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve, evaluate
from metarl.experiment.config import Config
from metarl.learners import RL2
from metarl.lifetimes import LifetimePlayer
from metarl.players import Player
from metarl.rl.losses import PolicyGradient
from metarl.rl.make import EnvSource, make_vec
from metarl.rl.policies import make_policy
from metarl.rl.recurrent import LifetimeGradient, RecurrentPolicy
from metarl.rl.sampler import Sampler
from metarl.workers import Worker, Workers


class Trainer:
    """Meta-params on their way through training.

    Args:
        config: The run's configuration.
        source: What to make environments from, if not the id in the configuration: a function that
            returns one environment.
    """

    def __init__(self, config: Config, source: EnvSource | None = None) -> None:
        self.config = config
        self.source = config.env if source is None else source
        self.player = make_player(config, self.source, config.tasks, config.episodes)
        self.policy: Any = self.player.sampler.policy
        self.params: Params = config.learner.initial(P.params_of(self.policy))
        self.outer_state: State = config.learner.initial_state(P.flatten(self.params.values()))
        worker = Worker(self.player, self.params, config.seed, config.tasks, range(config.tasks))
        self.workers = Workers([worker])
        self.iteration = 0
        self.env_steps = 0
        self.best_return = float("-inf")
        self._eval_player: Player | None = None

    def iterate(self) -> dict[str, float]:
        """Run one meta-iteration: sample, adapt, sample again, move the meta-params.

        Returns:
            Metrics under the names that appear in TensorBoard.

        Raises:
            FloatingPointError: If something is not finite; the meta-params are as before.
        """
        vector = P.flatten(self.params.values())
        started = time.perf_counter()
        data = self.workers.collect(vector, self.iteration)
        sampled = time.perf_counter()
        vector, state, outer = self.config.learner.update(self.workers, vector, self.outer_state)
        updated = time.perf_counter()
        self.params = {name: value.clone() for name, value in P.unflatten(vector, self.params).items()}
        self.outer_state = state
        self.iteration += 1
        self.env_steps += data["steps"]
        return self._metrics(data, outer, sampled - started, updated - sampled)

    def _metrics(
        self, data: dict[str, Any], outer: dict[str, float], sampling: float, update: float
    ) -> dict[str, float]:
        returns = [float(phase.mean()) for phase in data["returns"]]
        metrics = {
            "rollout/ep_rew_mean": returns[0],
            "rollout/ep_len_mean": float(data["lengths"].mean()),
            **{f"meta/return_step{k}": value for k, value in enumerate(returns)},
            "meta/adaptation_gain": returns[-1] - returns[0],
            **{f"train/{name}": value for name, value in outer.items()},
            "time/fps": data["steps"] / (sampling + update),
            "time/sampling_seconds": sampling,
            "time/meta_update_seconds": update,
            "time/iterations": self.iteration,
            "time/total_timesteps": self.env_steps,
            "physics/unstable_simulations": data["unstable"],
        }
        for name in ("log_std", "actor.log_std"):
            if name in self.params:
                metrics["train/std"] = float(self.params[name].detach().exp().mean())
        return metrics

    def evaluate(self) -> AdaptationCurve:
        """Draw the adaptation curve on this run's held-out tasks, the same ones every time."""
        c = self.config
        if self._eval_player is None:
            self._eval_player = make_player(c, self.source, c.eval_tasks, c.eval_episodes)
        return evaluate(self._eval_player, self.params, env=c.env, steps=c.eval_steps, seed=c.seed, later_lr=c.later_lr)

    def close(self) -> None:
        """Close the environments."""
        for player in (self.player, self._eval_player):
            if player is not None:
                player.sampler.env.close()


def make_player(config: Config, source: EnvSource, tasks: int, episodes: int) -> Player:
    """Build what plays `tasks` tasks with `episodes` episodes each under this configuration.

    Raises:
        UserError: If the environment or the device cannot be used.
    """
    try:
        torch.empty(0, device=config.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {config.device!r} cannot be used: {str(error).splitlines()[0]}") from error
    options = cast(dict[str, Any], config.env_options)
    env = make_vec(source, tasks * episodes, horizon=config.horizon, vectorization=config.vectorization, **options)
    horizon = getattr(env, "max_episode_steps", None)
    if horizon is None:
        raise UserError(f"environment {config.env!r} has no time limit; give a horizon")
    rules = (config.init_std, config.action_scale)
    spaces = (env.single_observation_space, env.single_action_space)
    rest = (config.learner, config.discount, config.gae_lambda, config.device, config.baseline)
    if isinstance(config.learner, RL2):
        if not config.hidden:
            raise UserError("rl2 needs a memory; give hidden at least one width")
        memory = RecurrentPolicy(*spaces, config.hidden, config.seed, *rules)
        return LifetimePlayer(Sampler(env, memory, tasks, episodes, horizon), LifetimeGradient(memory), *rest)
    policy = make_policy(*spaces, config.hidden, config.seed, *rules)
    # the device's copy shares the CPU policy's architecture only: params always come as arguments
    return Player(Sampler(env, policy, tasks, episodes, horizon), PolicyGradient(policy, config.inner_loss), *rest)
