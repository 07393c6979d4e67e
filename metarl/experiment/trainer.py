"""The state of a run and one meta-iteration of it; files and logs are elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from metarl.core import params as P
from metarl.core.params import Params
from metarl.errors import NotFinite, UserError
from metarl.evaluation import AdaptationCurve, Evaluation, evaluate
from metarl.experiment.base_config import Settings
from metarl.experiment.build import threads_for_tasks
from metarl.experiment.checkpoint import Checkpoint
from metarl.experiment.config_file import as_dict
from metarl.experiment.memory import check_memory
from metarl.experiment.parts import Parts
from metarl.experiment.progress import Progress
from metarl.methods import method_name
from metarl.methods.protocols import InnerLoop
from metarl.outer import State
from metarl.rl.ids import register
from metarl.seeding import VALIDATION
from metarl.threads import physics_shared_by
from metarl.workers.local import Workers
from metarl.workers.objective import WorkersObjective
from metarl.workers.ray_actor import Job, shares
from metarl.workers.ray_elastic import ElasticWorkers
from metarl.workers.ray_workers import RayWorkers
from metarl.workers.worker import Worker

NO_PARTS = Parts()

AnySettings = TypeVar("AnySettings", bound=Settings)
AnyInnerLoop = TypeVar("AnyInnerLoop", bound=InnerLoop)


class Trainer(Generic[AnySettings, AnyInnerLoop]):
    """Meta-params on their way through training, under a kind of configuration and the inner loop that it builds.

    Args:
        config: The run's configuration.
        parts: Objects of the user's that the configuration names.
    """

    def __init__(self, config: AnySettings, parts: Parts = NO_PARTS) -> None:
        self.config, self.parts = config, parts
        self._eval_loop: AnyInnerLoop | None = None
        self._loops = self._build_loops()
        self.inner_loop = self._loops[0]
        self.network: Any = self.inner_loop.network
        try:
            config.warn_of_unheard(self.inner_loop)
            start = config.method.initial(P.params_of(self.network))
            self.params: Params = {name: value.clone() for name, value in start.items()}  # a file holds no tensor twice
            self.outer_state: State = config.method.initial_state(P.flatten(self.params.values()))
            self.workers = self._local_workers() if config.workers == "local" else self._ray_workers()
        except BaseException:
            self._close_loops()
            raise
        self.progress = Progress()

    def build_inner_loop(
        self, held_out: bool = False, tasks: int | None = None, episodes: int | None = None
    ) -> AnyInnerLoop:
        """Build what plays training or held-out tasks; by default as many as the configuration says."""
        return self.config.build(self.parts, held_out, tasks, episodes)

    def _build_loops(self) -> list[AnyInnerLoop]:
        """Build what plays in each thread of this process, or, where others play, what knows the tasks."""
        c = self.config
        if c.workers != "local":
            return [self.build_inner_loop(tasks=1, episodes=1)]
        check_memory(c, c.tasks, c.judging(held_out=False), own_policy=self.parts.policy is not None)
        parts = shares(c.tasks, threads_for_tasks(c, self.parts))
        loops: list[AnyInnerLoop] = []
        try:
            with physics_shared_by(len(parts)):
                for part in parts:
                    loops.append(self.build_inner_loop(tasks=len(part)))
        except BaseException:
            for loop in loops:
                loop.close()
            raise
        return loops

    def _local_workers(self) -> Workers:
        c, parts = self.config, shares(self.config.tasks, len(self._loops))
        workers = [
            Worker(loop, self.params, c.seed, c.tasks, part) for loop, part in zip(self._loops, parts, strict=True)
        ]
        return Workers(workers, c.on_nan, threads=len(workers) > 1)

    def _ray_workers(self) -> RayWorkers:
        c = self.config
        build = partial(_build_elsewhere, c, self.parts, c.registration(self.parts))
        job = Job(build, self.params, c.seed, c.tasks, c.eval_tasks)
        if isinstance(c.workers, int):
            return RayWorkers(c.workers, job, c.worker_timeout, c.on_nan)
        return ElasticWorkers(c.workers, job, c.worker_timeout, c.on_nan)

    def iterate(self) -> dict[str, float]:
        """Run one meta-iteration: sample, adapt, sample again, move the meta-params.

        Returns:
            Metrics under the names that appear in TensorBoard.

        Raises:
            NotFinite: If something is not finite and is not to be dropped; the meta-params are as before.
        """
        vector = P.flatten(self.params.values())
        started = time.perf_counter()
        data = self.workers.collect(vector, self.progress.iteration)
        sampled = time.perf_counter()
        moved, state, outer = self.config.method.update(WorkersObjective(self.workers), vector, self.outer_state)
        vector = moved.to(vector.dtype)  # sums over tasks, and what a method makes of them, are in float64
        for name, values in {"meta-params": vector, **state}.items():
            if not torch.isfinite(values).all():
                raise NotFinite(
                    f"{name} is not finite after the outer update of meta-iteration {self.progress.iteration + 1}"
                )
        updated = time.perf_counter()
        self.params = {name: value.clone() for name, value in P.unflatten(vector, self.params).items()}
        self.outer_state = state
        self.progress.iteration += 1
        self.progress.env_steps += data["steps"]
        self.progress.seconds += updated - started
        self.progress.dropped_tasks += len(self.workers.dropped)
        return self._metrics(data, outer, sampled - started, updated - sampled)

    def _metrics(
        self, data: dict[str, Any], outer: dict[str, float], sampling: float, update: float
    ) -> dict[str, float]:
        returns = [float(phase.mean()) for phase in data["returns"]]
        measure = self.inner_loop.measure
        metrics = {
            **{f"meta/{measure}_step{k}": value for k, value in enumerate(returns)},
            **{f"meta/success_step{k}": float(phase.mean()) for k, phase in enumerate(data["success"])},
            "meta/adaptation_gain": (returns[-1] - returns[0]) * (-1 if measure == "loss" else 1),
            **{f"train/{name}": value for name, value in outer.items()},
            "time/fps": data["steps"] / (sampling + update),
            "time/sampling_seconds": sampling,
            "time/meta_update_seconds": update,
            "time/total_seconds": self.progress.seconds,
            "time/iterations": self.progress.iteration,
            "time/total_timesteps": self.progress.env_steps,
        }
        if measure == "return":
            metrics |= {
                "rollout/ep_rew_mean": returns[0],
                "rollout/ep_len_mean": float(data["lengths"].mean()),
                "physics/unstable_simulations": data["unstable"],
            }
        if self.config.on_nan == "drop":
            metrics["train/dropped_tasks"] = self.progress.dropped_tasks
        for name in ("log_std", "actor.log_std"):
            if name in self.params:
                metrics["train/std"] = float(self.params[name].detach().exp().mean())
        return metrics

    def snapshot(self) -> Checkpoint:
        """Return where the training stands."""
        return Checkpoint(self.params, as_dict(self.config), self.progress.as_state(), self.outer_state)

    def restore(self, saved: Checkpoint) -> None:
        """Put the training where a checkpoint stands.

        Raises:
            UserError: If the network has other shapes or kinds of numbers, or the checkpoint does not say where the
                run stood.
        """
        shapes, found = _shapes(self.params), _shapes(saved.params)
        if list(shapes.items()) != list(found.items()):  # flat vectors depend on the order too
            raise UserError(f"the checkpoint's network {_unlike(found, shapes)} is not this run's")
        if ":" not in method_name(self.config.method):  # one of the user's may remember what it likes
            shapes, found = _shapes(self.outer_state), _shapes(saved.outer)
            if "updates" not in found:  # of a version that had Adam's count alone
                shapes.pop("updates", None)
            if saved.outer and shapes != found:
                raise UserError(f"the checkpoint's outer update {_unlike(found, shapes)} is not this run's")
        self.progress = Progress.from_state(saved.state)
        self.params = saved.params
        self.outer_state = saved.outer or self.config.method.initial_state(P.flatten(saved.params.values()))

    def check(self) -> None:
        """Refuse held-out data that no evaluation could use now, and not in an hour.

        Raises:
            UserError: If a class or a picture is missing, or memory would not suffice.
        """
        c = self.config
        if not isinstance(self.workers, RayWorkers):  # they share the tasks, on machines of any size
            check_memory(c, c.eval_tasks, c.judging(held_out=True), own_policy=self.parts.policy is not None)
        c.check_held_out(self.parts)

    def evaluate(self) -> AdaptationCurve:
        """Draw the adaptation curve on this run's held-out tasks, the same ones every time."""
        c = self.config
        how = Evaluation(c.title, c.eval_steps, c.seed, VALIDATION, drop=c.on_nan == "drop")
        if isinstance(self.workers, RayWorkers):
            return self.workers.evaluate(P.flatten(self.params.values()), how)
        if self._eval_loop is None:
            self._eval_loop = self.build_inner_loop(held_out=True)
        return evaluate(self._eval_loop, self.params, how)

    def close(self) -> None:
        """Close the environments, and the workers' processes."""
        self.workers.close()
        self._close_loops()

    def _close_loops(self) -> None:
        for inner_loop in (*self._loops, self._eval_loop):
            if inner_loop is not None:
                inner_loop.close()


def _build_elsewhere(config: Settings, parts: Parts, registration: list[Any], **how: Any) -> InnerLoop:
    """Build an inner loop in a process that may not have heard of the environment's id."""
    register(registration)
    return config.build(parts, **how)


Shape = tuple[tuple[int, ...], str]


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: (tuple(value.shape), str(value.dtype).removeprefix("torch.")) for name, value in tensors.items()}


def _unlike(found: dict[str, Shape], wanted: dict[str, Shape]) -> str:
    """Return what is found that is not wanted, in words: all of it, where only the order differs."""
    other = {name: value for name, value in found.items() if wanted.get(name) != value} or found
    return ", ".join(f"{name} {list(shape)} of {kind}" for name, (shape, kind) in list(other.items())[:3])
