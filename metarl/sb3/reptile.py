"""Reptile over the algorithms of stable-baselines3."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecMonitor
from torch import Tensor

from metarl.errors import UserError, check_counts, check_known, check_takes
from metarl.evaluation import AdaptationCurve
from metarl.outer import Interpolation
from metarl.rl.environments import Vectorization, check_source, make_vec
from metarl.rl.ids import EnvSource
from metarl.sb3.algorithms import (
    check_algorithm,
    check_settings,
    distance,
    is_on_policy,
    learning_stays_finite,
    learnt,
    make_algorithm,
    moved,
    set_learnt,
    with_steps,
)
from metarl.sb3.episodes import Returns, first_episodes
from metarl.sb3.vec_env import SB3VecEnv, set_one_task
from metarl.seeding import TEST, TRAINING, draw_tasks, stream_rng

EVENTS = {"on_start": ("reptile",), "on_iteration": ("reptile", "metrics"), "on_end": ("reptile",)}
"""What a callback has some of, and what each is called with."""


class Reptile:
    """Learn a task by an algorithm of stable-baselines3, move towards the outcome, repeat (Nichol et al. 2018).

    A meta-iteration draws a task, starts the algorithm from the meta-params with fresh optimisers and an empty
    replay buffer, lets it learn for k environment steps, and moves the meta-params: θ ← θ + ε (W - θ). They are
    everything in `model.policy`, target networks included, and what the algorithm learns beside it: SAC's entropy
    coefficient. Every algorithm made seeds the global generators of Python, NumPy and torch, as is their way.

    Args:
        env: Gymnasium id of a task distribution, or a class or function that returns one environment with
            `task_space`, `sample_tasks(n, rng)` and `set_task(task)`.
        algorithm: PPO, SAC, DQN or any other `BaseAlgorithm`.
        k: Environment steps of a meta-iteration, of all rows together. Algorithms that stop at the end of an
            episode only (`train_freq=(1, "episode")`) may take more.
        epsilon: Step size ε of the outer update, in (0, 1].
        decay_iterations: Meta-iterations after which ε has fallen linearly to 0; 0 keeps it constant.
        num_envs: Rows of the vector environment, all in one task; by default 8 for on-policy algorithms and 1 for
            those with a replay buffer.
        horizon: Longest episode, in steps; by default the environment's own.
        env_options: Keyword arguments of the environment (only with an id).
        vectorization: For environments without a vector environment of their own: in this process, or in several.
        seed: Of everything random.
        **settings: Keyword arguments of the algorithm; `policy` is "MlpPolicy" ("CnnPolicy" on pictures) and
            `device` "cpu" where not given, and PPO's `n_steps` and `batch_size` such that they divide k.

    Raises:
        UserError: If the algorithm is none, cannot learn in the environment or lacks a setting, a number is out of
            range, or the environment is no task distribution.
    """

    model: BaseAlgorithm
    """The algorithm with the meta-params: what `save` writes, and where to start learning a new task."""
    iteration: int
    """Meta-iterations done."""
    env_steps: int
    """Environment steps taken in them."""

    def __init__(
        self,
        env: EnvSource,
        algorithm: type[BaseAlgorithm],
        *,
        k: int = 2048,
        epsilon: float = 0.25,
        decay_iterations: int = 0,
        num_envs: int | None = None,
        horizon: int | None = None,
        env_options: dict[str, Any] | None = None,
        vectorization: Vectorization = "sync",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        check_source(env)
        check_algorithm(algorithm)
        check_settings(algorithm, settings)
        rows = num_envs if num_envs is not None else 8 if is_on_policy(algorithm) else 1
        check_counts(k=(k, 1), decay_iterations=(decay_iterations, 0), num_envs=(rows, 1), seed=(seed, 0))
        if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 < epsilon <= 1:
            raise UserError(f"epsilon must be a number in (0, 1], got {epsilon!r}")
        if horizon is not None:
            check_counts(horizon=(horizon, 1))
        check_known("vectorization", str(vectorization), get_args(Vectorization))
        if ours := {*(env_options or {})} & {"source", "num_envs", "horizon", "vectorization", "autoreset_mode"}:
            raise UserError(f"env_options are the environment's own, not {', '.join(sorted(ours))}")
        self.env, self.algorithm, self.k, self.seed = env, algorithm, k, seed
        self.outer = Interpolation(float(epsilon), decay_iterations)
        self.settings = with_steps(algorithm, settings, k, rows)
        self.title = env if isinstance(env, str) else getattr(env, "__name__", str(env))
        self._env_options = {"horizon": horizon, "vectorization": vectorization, **(env_options or {})}
        self._vec = self._make_vec(rows)
        self.iteration = self.env_steps = 0
        try:
            self.model = self._make_algorithm(self._vec, seed)
        except BaseException:
            self._vec.close()
            raise

    def __repr__(self) -> str:
        """Say what it is and where it stands."""
        stands = f"{self.iteration} iterations, {self.env_steps:,} steps"
        return f"<sb3.Reptile over {self.algorithm.__name__} on {self.title}: k={self.k}, {stands}>"

    def learn(self, iterations: int, callbacks: Any = (), outputs: Sequence[KVWriter] = ()) -> Self:
        """Train for this many further meta-iterations; two calls in a row train as one of both does.

        Args:
            iterations: How many.
            callbacks: An object with some of `on_start(reptile)`, `on_iteration(reptile, metrics)`, which ends the
                training if it returns False, and `on_end(reptile)`; or several of them. Functions and classes are none.
            outputs: Where the numbers of each meta-iteration go: any `KVWriter` of stable-baselines3.

        Raises:
            UserError: If `iterations` is less than 1, or a callback has none of the methods, or one that cannot be
                called so.
            NotFinite: If the algorithm diverges; the meta-params are those before that meta-iteration.
        """
        check_counts(iterations=(iterations, 1))
        logger = Logger(None, list(outputs))
        several = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
        for callback in several:
            if isinstance(callback, type) or not any(hasattr(callback, name) for name in EVENTS):
                raise UserError(f"{callback!r} is no callback: that is an object with some of {', '.join(EVENTS)}")
            for name, arguments in EVENTS.items():
                if (method := getattr(callback, name, None)) is not None:
                    check_takes(f"a callback's {name}", method, *arguments)
        with ExitStack() as stack:
            for callback in several:
                _call(callback, "on_start", self)
                stack.callback(_call, callback, "on_end", self)
            for _ in range(iterations):
                metrics = self.iterate()
                for name, value in metrics.items():
                    logger.record(name, value)
                logger.dump(self.env_steps)
                said = [_call(callback, "on_iteration", self, metrics) for callback in several]
                if any(isinstance(answer, bool | np.bool_) and not answer for answer in said):
                    break
        return self

    def iterate(self) -> dict[str, float]:
        """Do one meta-iteration; returns what to log."""
        started, key = time.perf_counter(), (TRAINING, self.iteration)
        task = draw_tasks(self._vec.venv.vector, 1, self.seed, *key)[0]  # type: ignore[attr-defined]
        set_one_task(self._vec, task)
        model = self._start(self._vec, _draw_seed(self.seed, *key))
        returns = Returns()
        with learning_stays_finite(model, task):
            model.learn(self.k, returns)
        start, outcome = learnt(self.model), learnt(model)
        epsilon = self.outer.at(self.iteration)
        set_learnt(self.model, moved(start, outcome, epsilon))
        self.iteration += 1
        self.env_steps += model.num_timesteps
        return {
            "time/iterations": self.iteration,
            "time/total_timesteps": self.env_steps,
            "time/fps": model.num_timesteps / (time.perf_counter() - started),
            "train/displacement": distance(start, outcome),
            "train/outer_step_size": epsilon,
            **returns.means(),
        }

    def adapt(self, task: Any, steps: int | None = None, seed: int = 0) -> BaseAlgorithm:
        """Learn a task from the meta-params, which stay as they are.

        Args:
            task: The task, `[d]`.
            steps: Environment steps, by default k; the algorithm takes whole rollouts, which may be more.
            seed: Of everything random.

        Returns:
            The model. Its environments stay in the task, so that it can go on learning; `model.get_env().close()`
            closes them.

        Raises:
            UserError: If a number is out of range or the task none of the environment's.
            NotFinite: If the algorithm diverges.
        """
        steps = self.k if steps is None else steps
        check_counts(steps=(steps, 0), seed=(seed, 0))
        vec = self._make_vec(self._vec.num_envs)
        try:
            set_one_task(vec, task)
            model = self._start(vec, seed)
            with learning_stays_finite(model, task):
                return model.learn(steps) if steps else model
        except BaseException:
            vec.close()
            raise

    def adaptation_curve(
        self, steps: int = 3, tasks: int = 20, episodes: int = 20, seed: int = 0, *, deterministic: bool = False
    ) -> AdaptationCurve:
        """Draw the returns on held-out tasks after 0, k, 2k, ... environment steps of learning each.

        The tasks are those that `metarl.adaptation_curve` draws with the same seed. Before any training this is the
        curve of the algorithm from scratch.

        Args:
            steps: How often to learn for k environment steps.
            tasks: Held-out tasks.
            episodes: Episodes that measure each return; the algorithm does not learn from them.
            seed: Chooses the tasks and episodes.
            deterministic: Whether those episodes are played with the most likely actions, as stable-baselines3's
                `evaluate_policy` does; by default actions are drawn as in training.

        Raises:
            UserError: If a number is out of range.
            NotFinite: If the algorithm diverges.
        """
        check_counts(steps=(steps, 0), tasks=(tasks, 1), episodes=(episodes, 1), seed=(seed, 0))
        vec, shown = self._make_vec(self._vec.num_envs), self._make_vec(episodes)
        per_task, env_steps = np.zeros((tasks, steps + 1)), 0
        try:
            drawn = draw_tasks(vec.venv.vector, tasks, seed, TEST)  # type: ignore[attr-defined]
            for i, task in enumerate(drawn):
                set_one_task(vec, task)
                set_one_task(shown, task)
                model = self._start(vec, _draw_seed(seed, TEST, i))
                shown.seed(_draw_seed(seed, TEST, i, 0))
                for step in range(steps + 1):
                    if step:
                        with learning_stays_finite(model, task):
                            model.learn(self.k, reset_num_timesteps=False)
                    with _generators_kept(model):  # learning draws its noise from them too
                        returns, played = first_episodes(model, shown, deterministic)
                    per_task[i, step] = returns.mean()
                    env_steps += played
                env_steps += model.num_timesteps
        finally:
            vec.close()
            shown.close()
        return AdaptationCurve(self.title, per_task, env_steps, unit=f"x {self.k:,} environment steps", tasks=drawn)

    def save(self, path: str | Path) -> None:
        """Write `model`, which the algorithm's own `load` reads, as in `PPO.load(path)`."""
        self.model.save(path)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return a copy of the meta-params: those of the policy, and what is learned beside it."""
        return learnt(self.model)

    def go_on_from(self, state: dict[str, dict[str, Tensor]], iteration: int, env_steps: int) -> None:
        """Take up a training where it stood; it goes on as if it had never stopped.

        Args:
            state: What `state()` gave then.
            iteration: Meta-iterations done.
            env_steps: Environment steps taken in them.

        Raises:
            UserError: If the meta-params are those of another network.
        """
        try:
            set_learnt(self.model, state)
        except (AttributeError, KeyError, RuntimeError) as error:
            raise UserError(f"the meta-params do not fit {self.algorithm.__name__} as it is set up here") from error
        self.iteration, self.env_steps = iteration, env_steps

    def close(self) -> None:
        """Close the environments."""
        self._vec.close()

    def _make_vec(self, rows: int) -> VecMonitor:
        env = make_vec(self.env, rows, autoreset_mode=AutoresetMode.SAME_STEP, **self._env_options)
        return VecMonitor(SB3VecEnv(env))

    def _make_algorithm(self, vec: VecMonitor, seed: int) -> BaseAlgorithm:
        return make_algorithm(self.algorithm, vec, self.settings, self.title, seed)

    def _start(self, vec: VecMonitor, seed: int) -> BaseAlgorithm:
        """Return the algorithm as it begins to learn a task."""
        model = self._make_algorithm(vec, seed)
        set_learnt(model, learnt(self.model))
        return model


@contextmanager
def _generators_kept(model: BaseAlgorithm) -> Iterator[None]:
    """Leave as they were what stable-baselines3 draws from: torch's and NumPy's generators, and the action space's."""
    before, own = np.random.get_state(), model.action_space.np_random.bit_generator  # noqa: NPY002
    state = own.state
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
        own.state = state


def _draw_seed(seed: int, *key: int) -> int:
    """Return a seed for stable-baselines3, which takes 32 bits."""
    return int(stream_rng(seed, *key, 1).integers(2**31))


def _call(callback: Any, name: str, *args: Any) -> Any:
    method = getattr(callback, name, None)
    return None if method is None else method(*args)
