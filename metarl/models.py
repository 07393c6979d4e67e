"""The public face: a meta-learner with learn, save, adapt and predict, as stable-baselines3's users know it."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any, ClassVar, cast

from metarl.errors import UserError, check_counts
from metarl.evaluation import AdaptationCurve, evaluate
from metarl.experiment import checkpoint
from metarl.experiment.adapted import policy_before, policy_for
from metarl.experiment.config import Config, FewShotConfig
from metarl.experiment.methods import configure
from metarl.experiment.pretrained import PREFIX, find_pretrained
from metarl.experiment.run import RunDirectory, restore
from metarl.few_shot import FewShot
from metarl.learned import Learned
from metarl.learners import method_of
from metarl.predict import AdaptedPolicy
from metarl.rl.make import EnvSource, make_single
from metarl.rl.ppo import as_ppo, ppo_bytes


class Model(Learned):
    """A meta-learner for reinforcement learning.

    Args:
        env: Gymnasium id of a task distribution, or a function that returns one environment with
            `task_space`, `sample_tasks(n, rng)` and `set_task(task)`.
        log_dir: Run directory (TensorBoard, CSV, checkpoints); None writes nothing.
        verbose: Whether to show progress on the terminal.
        **settings: Fields of `Config`, of the method and of its outer optimiser, by name: `tasks`,
            `episodes`, `horizon`, `inner_lr`, `max_kl`, `seed`, ...; `outer` takes a `TRPO`, `PPO` or `Adam`.

    Raises:
        UserError: If a setting is unknown or out of range, or the environment is no task distribution.
    """

    method: ClassVar[str] = "maml"

    def __init__(
        self, env: EnvSource, *, log_dir: str | Path | None = None, verbose: bool = False, **settings: Any
    ) -> None:
        maker = env if hasattr(env, "__qualname__") else type(env)
        name = env if isinstance(env, str) else f"{maker.__module__}:{maker.__qualname__}"  # type: ignore[union-attr]
        self._begin(configure(name, self.method, settings), env, log_dir, verbose)

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return cast(Config, self.trainer.config)

    @property
    def policy(self) -> AdaptedPolicy:
        """The policy before adaptation."""
        return policy_before(self.trainer)

    def adapt(self, task: Any, steps: int | None = None, episodes: int | None = None, seed: int = 0) -> AdaptedPolicy:
        """Play a task, take gradient steps, and return the adapted policy; the model stays as it is.

        Args:
            task: The task, `[d]`.
            steps: Gradient steps; by default as many as in training.
            episodes: Episodes a step; by default as many as in training.
            seed: Chooses the episodes.
        """
        return policy_for(self.trainer, task, steps, episodes, seed)

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
        policy = self.policy if task is None else self.adapt(task, steps, seed=seed)
        env = make_single(self.trainer.source, self.config.horizon, dict(self.config.env_options))
        try:
            rows = env.get_wrapper_attr("_max_episode_steps")  # an episode is a batch
            batches = {"n_steps": max(rows, 2), "batch_size": max(rows, 2), "gamma": self.config.discount}
            model = as_ppo(policy.policy, policy.params, env, **batches, seed=seed)
        finally:
            env.close()
        try:
            path = Path(path)
            checkpoint.write_atomically(path if path.suffix else path.with_suffix(".zip"), ppo_bytes(model))
        except OSError as error:
            raise UserError(f"cannot write {str(path)!r}: {error.strerror}") from error


class MAML(Model):
    """MAML with a TRPO meta-update (Finn et al. 2017, algorithm 3)."""

    method = "maml"


class FOMAML(Model):
    """First-order MAML: the meta-gradient without second derivatives."""

    method = "fomaml"


class ANIL(Model):
    """Almost no inner loop: MAML of the head alone (Raghu et al. 2020)."""

    method = "anil"


class MetaSGD(Model):
    """MAML with a learned step size per param (Li et al. 2017)."""

    method = "meta-sgd"


class Reptile(Model):
    """Move towards the params that adapt to the tasks (Nichol et al. 2018)."""

    method = "reptile"


class ProMP(Model):
    """Proximal meta-policy search (Rothfuss et al. 2019)."""

    method = "promp"


class PPOMAML(Model):
    """MAML with a PPO meta-update."""

    method = "ppo-maml"


class EMAML(Model):
    """MAML that credits the policies before adaptation with what is reached after it (Stadie et al. 2018)."""

    method = "e-maml"


class RL2(Model):
    """A recurrent policy whose memory learns the task (Duan et al. 2016); its steps are episodes seen."""

    method = "rl2"


METHODS: dict[str, type[Model]] = {
    kind.method: kind for kind in (MAML, FOMAML, ANIL, MetaSGD, Reptile, ProMP, PPOMAML, EMAML, RL2)
}
"""Every model class by its method's name."""


def load(path: str | Path, env: EnvSource | None = None, *, best: bool = True, device: str = "cpu") -> Model | FewShot:
    """Load a model from a file that `save` wrote, a run directory, or the package.

    Args:
        path: File, run directory, or `pretrained:NAME`.
        env: What to make environments from, where the model was trained on a function instead of an id.
        best: Which checkpoint of a run directory: the best on held-out tasks, or the newest. One that is
            damaged is passed over with a warning.
        device: Where adaptation runs.

    Raises:
        UserError: If the file is missing, damaged or not a checkpoint.
    """
    path = find_pretrained(str(path)[len(PREFIX) :]) if str(path).startswith(PREFIX) else Path(path)
    if path.is_dir():
        directory = RunDirectory(path)
        directory.config()  # says so if there is no run
        saved, problems = directory.load_best() if best else directory.newest()
        for problem in problems:
            warnings.warn(f"{problem}; going back to iteration {saved.state['iteration']}", stacklevel=2)
    else:
        saved = checkpoint.load(path if path.suffix else path.with_suffix(".safetensors"))
    config = dataclasses.replace(Config.from_dict(saved.config), device=device, workers="local")
    if isinstance(config, Config) and env is None and ":" in config.env and "/" not in config.env:
        raise UserError(f"this model was trained on the function {config.env}; give it as load(path, env=...)")
    kind = FewShot if isinstance(config, FewShotConfig) else METHODS[method_of(config.learner)]
    model = kind.__new__(kind)
    model._begin(config, env, None, False)
    restore(model.trainer, saved)
    return model


def adaptation_curve(
    model: Model | FewShot,
    steps: int = 3,
    tasks: int = 40,
    episodes: int | None = None,
    seed: int = 0,
    later_lr: float | None = None,
) -> AdaptationCurve:
    """Draw a model's adaptation curve on held-out tasks.

    Args:
        model: The model, which stays as it is.
        steps: Gradient steps.
        tasks: Held-out tasks.
        episodes: Episodes a task and step, 20 by default; supervised tasks have none.
        seed: Chooses the tasks and their data.
        later_lr: Factor on the inner step size beyond the steps trained with; by default the model's.

    Raises:
        UserError: If a number is out of range.
    """
    c = model.trainer.config
    if episodes is not None and isinstance(c, FewShotConfig):
        raise UserError(f"episodes are for reinforcement learning; {c.title} has shots and queries")
    number = 20 if episodes is None else episodes
    check_counts(steps=(steps, 0), tasks=(tasks, 1), episodes=(number, 1), seed=(seed, 0))
    player: Any = model.trainer.make_player(held_out=True, tasks=tasks, episodes=number)
    player = player if later_lr is None else dataclasses.replace(player, later_lr=later_lr)
    try:
        return evaluate(player, model.trainer.params, env=c.title, steps=steps, seed=seed, drop=c.on_nan == "drop")
    finally:
        player.close()
