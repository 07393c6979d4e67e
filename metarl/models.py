"""The public face: a meta-learner with learn, save, adapt and predict, as stable-baselines3's users know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve, evaluate
from metarl.experiment import checkpoint
from metarl.experiment.config import Config, FewShotConfig
from metarl.experiment.methods import configure
from metarl.experiment.players import make_player
from metarl.experiment.run import RunDirectory, restore
from metarl.few_shot import FewShot
from metarl.learned import Learned
from metarl.learners import method_of
from metarl.players import HELD_OUT, Player, task_seeds
from metarl.predict import AdaptedPolicy
from metarl.rl.make import EnvSource


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
        name = env if isinstance(env, str) else f"{env.__module__}:{env.__qualname__}"
        self._begin(configure(name, self.method, settings), env, log_dir, verbose)

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return cast(Config, self.trainer.config)

    @property
    def policy(self) -> AdaptedPolicy:
        """The policy before adaptation."""
        return AdaptedPolicy(self.trainer.policy, cast(Player, self.trainer.player).start(self.trainer.params))

    def adapt(self, task: Any, steps: int | None = None, episodes: int | None = None, seed: int = 0) -> AdaptedPolicy:
        """Play a task, take gradient steps, and return the adapted policy; the model stays as it is.

        Args:
            task: The task, `[d]`.
            steps: Gradient steps; by default as many as in training.
            episodes: Episodes a step; by default as many as in training.
            seed: Chooses the episodes.
        """
        steps = self.config.learner.inner_steps if steps is None else steps
        player = make_player(self.config, self.trainer.source, 1, episodes or self.config.episodes)
        tasks = np.asarray(task, dtype=np.float64).reshape(1, -1)
        try:
            player.sampler.env.set_tasks(np.repeat(tasks, player.sampler.episodes, axis=0))  # refuses what is no task
        except ValueError as error:
            raise UserError(str(error)) from error
        try:
            adapted = player.adapted(self.trainer.params, tasks, task_seeds(seed, HELD_OUT, 1, [0]), steps)
        finally:
            player.close()
        return AdaptedPolicy(self.trainer.policy, adapted, seed)


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


def load(path: str | Path, env: EnvSource | None = None) -> Model | FewShot:
    """Load a model from a file that `save` wrote, or from a run directory (its best checkpoint).

    Args:
        path: File or run directory.
        env: What to make environments from, where the model was trained on a function instead of an id.

    Raises:
        UserError: If the file is missing, damaged or not a checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        directory = RunDirectory(path)
        directory.config()  # says so if there is no run
        saved = checkpoint.load(directory.best) if directory.best.exists() else directory.newest()[0]
    else:
        saved = checkpoint.load(path if path.suffix else path.with_suffix(".safetensors"))
    config = Config.from_dict(saved.config)
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
        later_lr: Factor on the inner step size from the second step on; by default the model's.

    Raises:
        UserError: If a number is out of range.
    """
    c = model.trainer.config
    if episodes is not None and isinstance(c, FewShotConfig):
        raise UserError(f"episodes are for reinforcement learning; {c.title} has shots and queries")
    number = 20 if episodes is None else episodes
    for name, value, least in (("steps", steps, 0), ("tasks", tasks, 1), ("episodes", number, 1), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
    player = model.trainer.make_player(held_out=True, tasks=tasks, episodes=number)
    try:
        return evaluate(
            player,
            model.trainer.params,
            env=c.title,
            steps=steps,
            seed=seed,
            later_lr=c.later_lr if later_lr is None else later_lr,
        )
    finally:
        player.close()
