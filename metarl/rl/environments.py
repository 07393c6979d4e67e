"""From an id or a factory to a vector environment with tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from metarl.errors import UserError, call, needs, takes
from metarl.rl.ids import EnvSource, find_spec, register, registration
from metarl.rl.processes import InProcesses
from metarl.rl.task_slot import TaskSlot
from metarl.seeding import Split, sample_split

Vectorization = Literal["sync", "async"]
"""Gymnasium's SyncVectorEnv in this process, or in several, each with some of the environments."""

TASK_METHODS = ("task_space", "sample_tasks", "set_task")


def check_source(source: Any) -> None:
    """Refuse what is neither an id, a class nor a function.

    Raises:
        UserError: If it is not.
    """
    if isinstance(source, gymnasium.Env | VectorEnv):
        raise UserError(f"env takes an id, a class or a function that returns an environment, got one: {source}")
    if not isinstance(source, str) and not callable(source):
        raise UserError(f"env takes an id, a class or a function that returns an environment, got {source!r}")


def make_vec(
    source: EnvSource,
    num_envs: int,
    *,
    horizon: int | None = None,
    vectorization: Vectorization = "sync",
    processes: int | None = None,
    autoreset_mode: AutoresetMode = AutoresetMode.DISABLED,
    **options: Any,
) -> VectorEnv:
    """Make a vector environment with `task_space`, `sample_tasks`, `set_tasks` and `max_episode_steps`.

    Ids of the namespace `metarl/` have a vector environment of their own; any other Gymnasium
    environment with the task methods runs, more slowly, in Gymnasium's SyncVectorEnv.

    Args:
        source: A Gymnasium id, or a function that returns one environment.
        num_envs: Number of rows.
        horizon: Longest episode, in steps; by default the id's own.
        vectorization: For environments without a vector environment of their own: this process or several.
        processes: How many, at most; by default as many as there are CPUs.
        autoreset_mode: What becomes of a row whose episode ends (SyncVectorEnv takes NEXT_STEP for DISABLED).
        **options: Keyword arguments of the environment.

    Raises:
        UserError: If the id is unknown, the environment lacks a task method or a time limit, or an
            option is unknown to it.
    """
    spec = find_spec(source) if isinstance(source, str) else None
    if spec is not None and _vectorised_with_tasks(spec):
        options |= {"autoreset_mode": autoreset_mode} | ({} if horizon is None else {"max_episode_steps": horizon})
        return _call(spec.id, gymnasium.make_vec, spec, num_envs=num_envs, **options)
    # SyncVectorEnv refuses to step a batch in which an episode has ended
    mode = AutoresetMode.NEXT_STEP if autoreset_mode is AutoresetMode.DISABLED else autoreset_mode

    ids = registration(source) if vectorization == "async" else []

    def make() -> gymnasium.Env:
        if ids:  # this may be a process that has not imported what registers them
            register(ids)
        return TaskSlot(make_single(source, horizon, options))

    prototype = make()
    if not prototype.has_wrapper_attr("_max_episode_steps"):
        raise UserError(
            f"environment {prototype.unwrapped} has no time limit; give a horizon, or the id that it is registered by"
        )
    if vectorization == "async":
        vector: SyncVectorEnv | InProcesses = InProcesses(make, prototype, num_envs, mode, processes)
    else:
        vector = SyncVectorEnv([make] * num_envs, autoreset_mode=mode)
    return TaskVector(vector, prototype)


def _vectorised_with_tasks(spec: EnvSpec) -> bool:
    """Return whether an id has a vector environment of its own that gives each row its task."""
    return hasattr(_vector_class(spec), "set_tasks")


def _vector_class(spec: EnvSpec) -> Any:
    """Return what makes an id's own vector environment; None where there is nothing."""
    entry = spec.vector_entry_point
    return _call(spec.id, load_env_creator, entry) if isinstance(entry, str) else entry


def has_physics(source: Any) -> bool:
    """Return whether this is the id of an environment of ours that steps many rows at once in a physics engine."""
    if not isinstance(source, str) or not source.startswith("metarl/"):
        return False
    return getattr(_vector_class(find_spec(source)), "has_physics", False)


def _call(name: str, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a constructor; an option that it does not know, or a package that it lacks, is the user's error."""
    try:
        return make(*args, **kwargs)
    except ModuleNotFoundError as error:
        raise UserError(needs(f"environment {name!r}", error)) from error
    except gymnasium.error.DependencyNotInstalled as error:
        raise UserError(f"environment {name!r}: {error}") from error
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise UserError(f"environment {name!r}: {str(error).split('() ')[-1]}") from error
    except ValueError as error:
        raise UserError(str(error)) from error


def make_single(source: EnvSource, horizon: int | None, options: dict[str, Any]) -> gymnasium.Env:
    """Make one environment with the task methods.

    Raises:
        UserError: As `make_vec`.
    """
    if isinstance(source, str):
        find_spec(source)
        limit = {} if horizon is None else {"max_episode_steps": horizon}
        env = _call(source, gymnasium.make, source, **limit, **options)
    else:
        check_source(source)
        if not takes(source, "render_mode"):  # it may have set one itself
            options = {name: value for name, value in options.items() if name != "render_mode"}
        env = call(source, "what it takes can be given as env_options, or by a function as env", **options)
        if not isinstance(env, gymnasium.Env):
            hint = "; few-shot tasks are for metarl.FewShot, and have sample_tasks and examples"
            hint = hint if hasattr(env, "sample_tasks") else ""
            raise UserError(f"{source!r} as env must make a gymnasium.Env, got {type(env).__name__}{hint}")
        if horizon is not None:
            env = gymnasium.wrappers.TimeLimit(env, horizon)
    missing = [name for name in TASK_METHODS if not env.has_wrapper_attr(name)]
    if missing:
        raise UserError(
            f"environment {source!r} lacks {', '.join(missing)}; a task distribution needs {', '.join(TASK_METHODS)}"
        )
    return env


class TaskVector(gymnasium.vector.VectorWrapper):
    """A vector of single environments with the task methods."""

    tasks_start_at_reset: ClassVar[bool] = True
    """A user's `set_task` may act from the next reset on."""

    def __init__(self, env: SyncVectorEnv | InProcesses, prototype: gymnasium.Env) -> None:
        super().__init__(env)
        self.rows, self.prototype = env, prototype
        self.max_episode_steps = int(prototype.get_wrapper_attr("_max_episode_steps"))
        self.task_space = prototype.get_wrapper_attr("task_space")
        self.tasks: NDArray[np.float64] | None = None

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[np.float64]:
        """Draw n tasks, `[n, d]`, of one of the environment's sets if it has such."""
        drawn = sample_split(self.prototype.get_wrapper_attr("sample_tasks"), n, rng, split)
        try:
            tasks = np.asarray(drawn, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UserError(f"sample_tasks({n}, rng) must return numbers [{n}, d], got {drawn!r:.80}") from error
        shape = getattr(self.task_space, "shape", None) or ()
        width = shape[0] if len(shape) == 1 else None
        if tasks.ndim != 2 or len(tasks) != n or width not in (None, tasks.shape[1]):
            wanted = f"[{n}, {width or 'd'}]"
            raise UserError(f"sample_tasks({n}, rng) must return an array {wanted}, got shape {tasks.shape}")
        return tasks

    def set_tasks(self, tasks: NDArray[np.float64]) -> None:
        """Give row i the task `tasks[i]`.

        Raises:
            UserError: If one lies outside a task space that is a Box of its shape.
        """
        self.set_tasks_of(np.ones(len(tasks), np.bool_), tasks)

    def set_tasks_of(self, rows: NDArray[np.bool_], tasks: NDArray[np.float64]) -> None:
        """Give these rows, i say, the task `tasks[i]`: a user's `set_task` may end an episode of the others.

        Raises:
            UserError: As `set_tasks`.
        """
        space, tasks = self.task_space, np.asarray(tasks, dtype=np.float64)
        if isinstance(space, gymnasium.spaces.Box) and tasks.shape[1:] == space.shape:
            near = tasks.astype(space.dtype)  # the bounds are rounded to it
            inside = ((near >= space.low) & (near <= space.high)).reshape(len(tasks), -1).all(1)
            if not inside.all():
                task = tasks[~inside][0].tolist()
                raise UserError(f"{self.prototype.unwrapped}: task {task} is outside its task space {space}")
        self.rows.set_attr("current_task", [task if rows[i] else None for i, task in enumerate(tasks)])
        self.tasks = np.array(tasks)

    def close(self, **kwargs: Any) -> None:
        """Close all environments, the prototype too."""
        self.prototype.close()
        super().close(**kwargs)
