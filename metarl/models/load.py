"""Models from files, and their adaptation curves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from metarl.errors import UserError, check_counts, warn
from metarl.evaluation import AdaptationCurve, evaluate
from metarl.experiment import checkpoint
from metarl.experiment.base_config import Settings
from metarl.experiment.checkpoint import Checkpoint
from metarl.experiment.config_file import from_dict
from metarl.experiment.directory import RunDirectory
from metarl.experiment.names import find
from metarl.experiment.parts import Parts, missing, typed_parts
from metarl.methods import Method, method_name
from metarl.models.base import MetaLearner
from metarl.models.methods import MODELS
from metarl.models.pretrained import PREFIX, find_pretrained
from metarl.models.rl import Model
from metarl.models.supervised import FewShot
from metarl.rl.environments import EnvSource


def load(
    path: str | Path,
    env: EnvSource | None = None,
    *,
    method: type[Method] | Method | None = None,
    policy: Any = None,
    baseline: Any = None,
    inner_loss: Any = None,
    modules: tuple[str, ...] = (),
    best: bool = True,
    device: str = "cpu",
) -> Any:
    """Load a model from a file that `save` wrote, a run directory, or the package.

    Nothing is imported because a file names it: what the run was given as an object has to be given again. A model of
    a run directory that learns goes on with that run, from its newest checkpoint.

    Args:
        path: File, run directory, or `pretrained:NAME`.
        env: What to make environments from, where the model was trained on a class, a function or an id of the
            form `module:Id-v0`.
        method: The method's class, where it is not one of ours.
        policy: What makes the policy network, where one was given.
        baseline: The baseline, where a function was given.
        inner_loss: The inner loss, where a function was given.
        modules: Modules that may be imported to find these by their recorded names.
        best: Which checkpoint of a run directory: the best on held-out tasks, or the newest. One that is
            damaged is passed over with a warning.
        device: Where adaptation runs.

    Returns:
        A `Model` of the method's class (`MAML`, `ProMP`, ...), or a `FewShot`. `MAML.load` says so to an editor.

    Raises:
        UserError: If the file is missing, damaged or not a checkpoint, or an object has to be given.
    """
    path = find_pretrained(str(path)[len(PREFIX) :]) if str(path).startswith(PREFIX) else Path(path)
    directory = RunDirectory(path) if path.is_dir() else None
    saved, problems = _saved(path, directory, best)
    for problem in problems:
        warn(f"{problem}; going back to iteration {saved.state['iteration']}")
    kind = _method(saved.config, method, modules)
    if directory is not None:
        directory.config(kind)  # says so if it is damaged
    config = dataclasses.replace(from_dict(saved.config, kind), device=device, workers="local")
    parts = typed_parts(config.named_parts, modules, Parts(env, policy, baseline, inner_loss))
    model_kind = _model_kind(config)
    model = model_kind.__new__(model_kind)
    model._begin(config, parts)
    model.trainer.restore(saved)
    model.of_run(directory)
    return model


def _saved(path: Path, directory: RunDirectory | None, best: bool) -> tuple[Checkpoint, list[str]]:
    """Return the checkpoint of a file or a run, and what was wrong with those that were passed over."""
    if directory is None:
        return checkpoint.load(path if path.suffix else path.with_suffix(".safetensors")), []
    directory.check_holds_run()
    directory.check_readable()
    return directory.load_best() if best else directory.newest()


def _model_kind(config: Settings) -> type[MetaLearner]:
    """Return the class of models under a configuration."""
    return MODELS.get(method_name(config.method), Model) if config.plays_episodes else FewShot


def _method(config: dict[str, Any], given: Any, modules: tuple[str, ...]) -> Any:
    """Return the method's class, which a file only names."""
    recorded = config.get("method")
    name = str(recorded.get("name", "")) if isinstance(recorded, dict) else ""
    if given is not None or ":" not in name:
        return given
    if name.partition(":")[0] in modules:
        return find(name)
    raise UserError(missing("method", name))


def adaptation_curve(
    model: MetaLearner,
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
    if episodes is not None and not c.plays_episodes:
        raise UserError(f"episodes are for reinforcement learning; {c.title} has shots and queries")
    number = 20 if episodes is None else episodes
    check_counts(steps=(steps, 0), tasks=(tasks, 1), episodes=(number, 1), seed=(seed, 0))
    inner_loop = model.trainer.build_inner_loop(held_out=True, tasks=tasks, episodes=number)
    inner_loop = inner_loop if later_lr is None else dataclasses.replace(inner_loop, later_lr=later_lr)
    try:
        return evaluate(inner_loop, model.trainer.params, env=c.title, steps=steps, seed=seed, drop=c.on_nan == "drop")
    finally:
        inner_loop.close()
