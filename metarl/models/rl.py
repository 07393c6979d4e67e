"""The meta-learner of policies, as stable-baselines3's users know their algorithms."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np

from metarl.errors import UserError, check_counts
from metarl.experiment import checkpoint
from metarl.experiment.adapted import policies_for, policy_before, policy_for, single_env
from metarl.experiment.config import Config
from metarl.experiment.names import name_of
from metarl.experiment.own_files import check_output
from metarl.experiment.parts import Parts, named
from metarl.experiment.settings import with_method, with_settings
from metarl.methods import Method
from metarl.models.base import MetaLearner
from metarl.models.keywords import PolicyKeywords
from metarl.rl.adapted_policy import AdaptedPolicy
from metarl.rl.environments import check_source
from metarl.rl.ids import EnvSource
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.sb3.convert import as_ppo, model_bytes

LARGEST_SEED = 2**32 - 1
"""What stable-baselines3 takes."""


class Model(MetaLearner[Config, PolicyInnerLoop]):
    """A meta-learner for reinforcement learning with any method.

    Args:
        env: Gymnasium id of a task distribution (`module:Id-v0` imports the module first), or a class or function
            that returns one environment with `task_space`, `sample_tasks(n, rng)` and `set_task(task)`.
        method: The method: a name of ours (`"promp"`), an object such as `metarl.methods.ProMP(inner_lr=0.05)`, or one
            of your own.
        log_dir: Run directory (TensorBoard, CSV, checkpoints); None writes nothing.
        resume: Whether to go on with the run in `log_dir`.
        verbose: Whether to show progress on the terminal.
        **settings: Settings of the run, of the method and of its outer update, by name.

    Raises:
        UserError: If a setting is unknown, of the wrong kind or out of range, or the environment is no task
            distribution.
    """

    name: ClassVar[str] = "maml"

    def __init__(
        self,
        env: EnvSource,
        *,
        method: str | Method | None = None,
        log_dir: str | Path | None = None,
        resume: bool = False,
        verbose: bool = False,
        **settings: Unpack[PolicyKeywords],
    ) -> None:
        self._build(env, method, log_dir, resume, verbose, settings)

    def _build(
        self,
        env: EnvSource,
        method: str | Method | None,
        log_dir: str | Path | None,
        resume: bool,
        verbose: bool,
        settings: Any,
        config: Config | None = None,
        named_by_config: Parts | None = None,
    ) -> None:
        """Build the model, on a configuration whose settings `settings` change; by default on the defaults."""
        check_source(env)
        own = {name: named(name, settings[name]) for name in ("policy", "baseline", "inner_loss") if name in settings}
        parts = Parts(None if isinstance(env, str) else env, **{name: thing for name, (_, thing) in own.items()})
        flat = {**settings, **{name: recorded for name, (recorded, _) in own.items()}}
        typed = config is None and isinstance(env, str) and ":" in env  # Gymnasium's own form, in which no file counts
        config = Config(env=env if isinstance(env, str) else name_of(env)) if config is None else config
        config = with_settings(with_method(config, self.name if method is None else method), flat)
        if typed:
            parts = dataclasses.replace(parts, env=env)
        if named_by_config is not None:
            parts = parts.completed(named_by_config)
        if not resume:
            config.check_heeded()
        self._begin(config, parts, log_dir, verbose, resume)

    @property
    def policy(self) -> AdaptedPolicy:
        """The policy before adaptation."""
        return policy_before(self.trainer)

    def adapt(self, task: Any, steps: int | None = None, episodes: int | None = None, seed: int = 0) -> Any:
        """Play a task, take gradient steps, and return the adapted policy; the model stays as it is.

        Several tasks are played side by side, which takes much less time than one after another. `export_sb3` writes
        the adapted policy to a file.

        Args:
            task: The task `[d]`, or several `[n, d]`; then `AdaptedPolicies` come back.
            steps: Gradient steps, or the episodes that a memory sees; by default as many as in training.
            episodes: Episodes a step; by default as many as in training. A memory sees one at a time.
            seed: Chooses the episodes.
        """
        return (policies_for if _several(task) else policy_for)(self.trainer, task, steps, episodes, seed)

    def export_sb3(self, path: str | Path, task: Any = None, steps: int | None = None, seed: int = 0) -> None:
        """Write the adapted policy as a stable-baselines3 PPO model, which `PPO.load` reads; its value network is new.

        Args:
            path: The file; by default a .zip.
            task: The task `[d]` to adapt to; without one, the policy before adaptation.
            steps: Gradient steps; by default as many as in training.
            seed: Chooses the episodes.

        Raises:
            UserError: If stable-baselines3 cannot represent the policy, or the file cannot be written.
        """
        if task is None and steps:
            raise UserError(f"steps={steps} need a task to adapt to")
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".zip")
        check_output(path)
        check_counts(seed=(seed, 0))
        if seed > LARGEST_SEED:
            raise UserError(f"seed must be at most 2^32 - 1 = {LARGEST_SEED} for stable-baselines3, got {seed}")
        if _several(task):
            raise UserError(f"PPO's model is of one task [d], got {task!r}")
        policy = self.policy if task is None else self.adapt(task, steps, seed=seed)
        with closing(single_env(self.trainer)) as env:
            rows = env.get_wrapper_attr("_max_episode_steps")  # an episode is a batch
            batches = {"n_steps": max(rows, 2), "batch_size": max(rows, 2), "gamma": self.config.discount}
            model = as_ppo(policy.policy, policy.params, env, **batches, seed=seed)
        checkpoint.write_atomically(path, model_bytes(model))


def _several(task: Any) -> bool:
    """Return whether these are tasks `[n, d]` instead of one; what is neither is refused where it is played."""
    try:
        return np.ndim(task) == 2
    except ValueError:  # a ragged list
        return False
