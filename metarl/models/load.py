"""Models from presets and files, and their adaptation curves."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl.errors import UserError, check_counts, warn
from metarl.evaluation import AdaptationCurve, Evaluation, evaluate
from metarl.experiment import checkpoint
from metarl.experiment.base_config import Settings
from metarl.experiment.checkpoint import Checkpoint
from metarl.experiment.config import Config
from metarl.experiment.config_file import from_dict
from metarl.experiment.directory import RunDirectory
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.experiment.parts import Parts, recorded_method, typed_parts
from metarl.experiment.preset_file import find_preset, stated
from metarl.experiment.settings import sized, with_method, with_settings
from metarl.fewshot.own_source import TaskSource, made_source
from metarl.methods import Method, method_name
from metarl.models.base import MetaLearner
from metarl.models.methods import MODELS
from metarl.models.pretrained import PREFIX, find_pretrained
from metarl.models.rl import Model
from metarl.models.supervised import FewShot
from metarl.rl.ids import EnvSource


def from_preset(
    name: str | Path,
    *,
    method: str | Method | None = None,
    log_dir: str | Path | None = None,
    resume: bool = False,
    verbose: bool = False,
    modules: tuple[str, ...] = (),
    **settings: Any,
) -> Any:
    """Make a model with the settings of a preset, as `metarl train NAME` has them.

    Args:
        name: A preset (`metarl presets` lists them), the id of an environment, which has the settings of its first
            preset, or a TOML or JSON file of settings.
        method: Another method: a name of ours, or an object. As on the command line it may bring settings that suit it.
        log_dir: Run directory (TensorBoard, CSV, checkpoints); None writes nothing.
        resume: Whether to go on with the run in `log_dir`.
        verbose: Whether to show progress on the terminal.
        modules: Modules that may be imported to find what the file names of your own.
        **settings: What is to be different: settings of the run, of the method and of its outer update, by name.

    Returns:
        A `Model` of the method's class (`MAML`, `ProMP`, ...), or a `FewShot`.

    Raises:
        UserError: If there is no such preset, or a setting is unknown, of the wrong kind or out of range.
    """
    config = find_preset(name, modules)
    keep = {*settings, *stated(name)}
    parts = typed_parts({n: at for n, at in config.named_parts.items() if n not in settings}, modules)
    if isinstance(config, FewShotConfig):
        network = FewShot.__new__(FewShot)
        chosen = with_settings(with_method(sized(config, settings), method, keep=keep), settings)
        if not resume:
            chosen.check_heeded()
        network._begin(chosen, parts, log_dir, verbose, resume)
        return network
    assert isinstance(config, Config)
    config = with_method(sized(config, settings), method, keep=keep)
    kind = MODELS.get(method_name(config.method), Model)
    model = kind.__new__(kind)
    model._build(config.env, config.method, log_dir, resume, verbose, settings, config, parts)
    return model


def load(
    path: str | Path,
    env: EnvSource | None = None,
    *,
    method: type[Method] | Method | None = None,
    policy: Any = None,
    baseline: Any = None,
    inner_loss: Any = None,
    data: TaskSource | type[TaskSource] | None = None,
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
            form `module:Id-v0`; or the id of another environment with the same spaces.
        method: The method's class, where it is not one of ours.
        policy: What makes the policy network, where one was given.
        baseline: The baseline, where a function was given.
        inner_loss: The inner loss, where a function was given.
        data: The source of labelled tasks, where a class or an object was given.
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
    config = dataclasses.replace(_config(path, saved, directory, method, modules), device=device, workers="local")
    if isinstance(env, str) and ":" not in env and isinstance(config, Config):  # an id is recorded
        config, env = dataclasses.replace(config, env=env), None
    source = None if data is None else made_source(data)
    parts = typed_parts(config.named_parts, modules, Parts(env, policy, baseline, inner_loss, source))
    model_kind = _model_kind(config)
    model = model_kind.__new__(model_kind)
    model._begin(config, parts)
    try:
        model.trainer.restore(saved)
    except BaseException:
        model.close()
        raise
    model.of_run(directory)
    return model


def _config(
    path: Path, saved: Checkpoint, directory: RunDirectory | None, method: Any, modules: tuple[str, ...]
) -> Settings:
    """Return the settings that a checkpoint holds, with the method that was given where it is not one of ours."""
    kind = recorded_method(saved.config, modules, method)
    if method is not None and ":" not in (recorded := str(saved.config.get("method", {}).get("name"))):
        raise UserError(f"{str(path)!r} holds {recorded}, a method of ours: method= gives one of your own again")
    if directory is not None:
        directory.config(kind)  # says so if it is damaged
    return from_dict(saved.config, kind)


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


def adaptation_curve(
    model: MetaLearner,
    steps: int = 3,
    tasks: int | ArrayLike = 40,
    episodes: int | None = None,
    seed: int = 0,
    later_lr: float | None = None,
) -> AdaptationCurve:
    """Draw a model's adaptation curve on held-out tasks.

    Args:
        model: The model, which stays as it is.
        steps: Gradient steps; of a memory, episodes that it sees.
        tasks: How many held-out tasks; or the tasks themselves, `[n, d]`.
        episodes: Episodes a task and step, 20 by default; supervised tasks have none.
        seed: Chooses the tasks and their data; never those by which a run chose its best params.
        later_lr: Factor on the inner step size beyond the steps trained with; by default the model's.

    Raises:
        UserError: If a number is out of range, or a task none of the environment's.
    """
    c = model.trainer.config
    given, n = _tasks(tasks, c)
    if episodes is not None and not c.plays_episodes:
        raise UserError(f"episodes are for reinforcement learning; {c.title} has shots and queries")
    number = 20 if episodes is None else episodes
    check_counts(steps=(steps, 0), tasks=(n, 1), episodes=(number, 1), seed=(seed, 0))
    if later_lr is not None:
        try:
            later_lr = float(later_lr)
        except (TypeError, ValueError) as error:
            raise UserError(f"later_lr must be a number, got {later_lr!r}") from error
        if not 0 <= later_lr < float("inf"):
            raise UserError(f"later_lr must be finite and at least 0, got {later_lr}")
    how = Evaluation(c.title, steps, seed, drop=c.on_nan == "drop", tasks=given)
    with closing(model.trainer.build_inner_loop(held_out=True, tasks=n, episodes=number)) as inner_loop:
        if given is not None:
            inner_loop.check_tasks(given)
        inner_loop = inner_loop if later_lr is None else dataclasses.replace(inner_loop, later_lr=later_lr)
        return evaluate(inner_loop, model.trainer.params, how)


def _tasks(tasks: Any, config: Settings) -> tuple[NDArray[np.float64] | None, Any]:
    """Return tasks as an array `[n, d]`, and n; of a number of tasks None, and the number."""
    if isinstance(tasks, int | np.integer):
        return None, tasks
    if not config.plays_episodes:
        raise UserError(f"tasks must be a whole number for {config.title}, got {tasks!r}")
    try:
        given = np.asarray(tasks, dtype=np.float64)
    except (TypeError, ValueError):
        given = np.zeros(0)
    if given.ndim != 2 or not len(given):
        raise UserError(f"tasks must be a whole number or numbers [n, d], got {tasks!r}")
    return given, len(given)
