"""The state of a run and one meta-iteration of it; files and logs are elsewhere."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch

from metarl.core import params as P
from metarl.core.adam import State
from metarl.core.params import Params
from metarl.errors import NotFinite
from metarl.evaluation import AdaptationCurve, evaluate
from metarl.experiment.config import Config, FewShotConfig
from metarl.experiment.players import PlayerMaker
from metarl.players import AnyPlayer
from metarl.ray_actor import Job
from metarl.ray_workers import RayWorkers
from metarl.rl.make import EnvSource, registration
from metarl.streams import HELD_OUT
from metarl.worker import Worker
from metarl.workers import Workers


class Trainer:
    """Meta-params on their way through training.

    Args:
        config: The run's configuration.
        source: What to make environments from, if not the id in the configuration: a function that
            returns one environment.
    """

    def __init__(self, config: Config | FewShotConfig, source: EnvSource | None = None) -> None:
        self.config = config
        self.source = config.title if source is None else source
        self._maker = PlayerMaker(config, self.source)
        local = config.workers == "local"
        self.player = self._maker() if local else self._maker(tasks=1, episodes=1)
        self.policy: Any = self.player.network
        self.params: Params = config.learner.initial(P.params_of(self.policy))
        self.outer_state: State = config.learner.initial_state(P.flatten(self.params.values()))
        self._eval_player: AnyPlayer | None = None
        try:
            self.workers = self._local_worker() if local else self._ray_workers()
        except BaseException:
            self.player.close()
            raise
        self.iteration = 0
        self.env_steps = 0
        self.seconds = 0.0
        self.dropped_tasks = 0
        self.best_return = float("-inf")

    def make_player(self, held_out: bool = False, tasks: int | None = None, episodes: int | None = None) -> AnyPlayer:
        """Build what plays training or held-out tasks; by default as many as the configuration says."""
        return self._maker(held_out, tasks, episodes)

    def _local_worker(self) -> Workers:
        c = self.config
        return Workers([Worker(self.player, self.params, c.seed, c.tasks, range(c.tasks))], c.on_nan)

    def _ray_workers(self) -> RayWorkers:
        c = self.config
        known = registration(self.source) if isinstance(c, Config) else None
        job = Job(replace(self._maker, registration=known), self.params, c.seed, c.tasks, c.eval_tasks)
        return RayWorkers(c.workers, job, c.worker_timeout, c.on_nan)

    def iterate(self) -> dict[str, float]:
        """Run one meta-iteration: sample, adapt, sample again, move the meta-params.

        Returns:
            Metrics under the names that appear in TensorBoard.

        Raises:
            NotFinite: If something is not finite and is not to be dropped; the meta-params are as before.
        """
        vector = P.flatten(self.params.values())
        started = time.perf_counter()
        data = self.workers.collect(vector, self.iteration)
        sampled = time.perf_counter()
        vector, state, outer = self.config.learner.update(self.workers, vector, self.outer_state)
        for name, values in {"meta-params": vector, **state}.items():
            if not torch.isfinite(values).all():
                raise NotFinite(f"{name} is not finite after the outer update of meta-iteration {self.iteration + 1}")
        updated = time.perf_counter()
        self.params = {name: value.clone() for name, value in P.unflatten(vector, self.params).items()}
        self.outer_state = state
        self.iteration += 1
        self.env_steps += data["steps"]
        self.seconds += updated - started
        self.dropped_tasks += len(self.workers.dropped)
        return self._metrics(data, outer, sampled - started, updated - sampled)

    def _metrics(
        self, data: dict[str, Any], outer: dict[str, float], sampling: float, update: float
    ) -> dict[str, float]:
        returns = [float(phase.mean()) for phase in data["returns"]]
        measure = self.player.measures
        metrics = {
            **{f"meta/{measure}_step{k}": value for k, value in enumerate(returns)},
            "meta/adaptation_gain": returns[-1] - returns[0],
            **{f"train/{name}": value for name, value in outer.items()},
            "time/fps": data["steps"] / (sampling + update),
            "time/sampling_seconds": sampling,
            "time/meta_update_seconds": update,
            "time/total_seconds": self.seconds,
            "time/iterations": self.iteration,
            "time/total_timesteps": self.env_steps,
        }
        if measure == "return":
            metrics |= {
                "rollout/ep_rew_mean": returns[0],
                "rollout/ep_len_mean": float(data["lengths"].mean()),
                "physics/unstable_simulations": data["unstable"],
            }
        if self.config.on_nan == "drop":
            metrics["train/dropped_tasks"] = self.dropped_tasks
        for name in ("log_std", "actor.log_std"):
            if name in self.params:
                metrics["train/std"] = float(self.params[name].detach().exp().mean())
        return metrics

    def check(self) -> None:
        """Refuse held-out data that no evaluation could use now, and not in an hour.

        Raises:
            UserError: If a class or a picture is missing.
        """
        if isinstance(self.config, FewShotConfig):
            self.make_player(held_out=True, tasks=1).close()

    def evaluate(self) -> AdaptationCurve:
        """Draw the adaptation curve on this run's held-out tasks, the same ones every time."""
        c = self.config
        how = {
            "env": c.title,
            "steps": c.eval_steps,
            "seed": c.seed,
            "stream": HELD_OUT,
            "drop": c.on_nan == "drop",
        }
        if isinstance(self.workers, RayWorkers):
            return self.workers.evaluate(P.flatten(self.params.values()), how)
        if self._eval_player is None:
            self._eval_player = self.make_player(held_out=True)
        return evaluate(self._eval_player, self.params, **how)

    def close(self) -> None:
        """Close the environments, and the workers' processes."""
        self.workers.close()
        for player in (self.player, self._eval_player):
            if player is not None:
                player.close()
