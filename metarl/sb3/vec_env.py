"""Task distributions for stable-baselines3: a `VecEnv` over vector environments with `set_tasks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Wrapper, spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from metarl.errors import UserError


class SB3VecEnv(VecEnv):
    """What stable-baselines3's algorithms and wrappers train on.

    Args:
        env: A vector environment in autoreset mode SAME_STEP, with `set_tasks` and `sample_tasks`.
        resample: If given, draws a new task for a row whenever one of its episodes ends; else the
            tasks stay as they are.
        observe_task: Whether to append the task to the observation (the *oracle* of the MAML paper).
        action_scale: The environment's actions are this times those of the algorithm, whose action
            space is wider by its inverse.

    Raises:
        UserError: If the environment is in another autoreset mode or has no `set_tasks`, or
            `observe_task` finds observations that are not vectors.
    """

    def __init__(
        self,
        env: VectorEnv,
        *,
        resample: np.random.Generator | None = None,
        observe_task: bool = False,
        action_scale: float = 1.0,
    ) -> None:
        if env.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
            raise UserError('stable-baselines3 needs autoreset_mode="SameStep"; make the environment with it')
        self.env, self.vector = env, _with_set_tasks(env)
        self.resample, self.observe_task = resample, observe_task
        space = env.single_observation_space
        if observe_task:
            task_space = self._task("task_space")
            if not isinstance(space, spaces.Box) or len(space.shape) != 1:
                raise UserError(f"a task can be appended to observations that are vectors, not to {space}")
            low = np.concatenate([space.low, task_space.low.ravel()])
            high = np.concatenate([space.high, task_space.high.ravel()])
            kind = space.dtype.type  # type: ignore[union-attr]
            space = spaces.Box(low.astype(kind), high.astype(kind), dtype=kind)
        actions = env.single_action_space
        if isinstance(actions, spaces.Box) and action_scale != 1:
            actions = spaces.Box(actions.low / action_scale, actions.high / action_scale, dtype=np.float32)
        self._actions: NDArray[Any] = np.empty(0)
        self._scale = action_scale if isinstance(actions, spaces.Box) else 1
        self._first = 0
        if isinstance(actions, spaces.Discrete) and actions.start:  # stable-baselines3 counts from 0
            self._first, actions = int(actions.start), spaces.Discrete(int(actions.n))
        super().__init__(env.num_envs, space, actions)

    def reset(self) -> VecEnvObs:
        """Start an episode in every row, with new tasks if tasks are resampled."""
        if self.resample is not None:
            self._task("set_tasks")(self._task("sample_tasks")(self.num_envs, self.resample))
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        observations, _ = self.env.reset(seed=seeds)  # type: ignore[arg-type]
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self._with_task(observations)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Remember the actions."""
        self._actions = actions * self._scale + self._first

    def step_wait(self) -> VecEnvStepReturn:
        """Step; ended rows carry `terminal_observation` and `TimeLimit.truncated`, and show their new episode."""
        observations, rewards, terminated, truncated, found = self.env.step(self._actions)
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(done).tolist():
            infos[i] = {
                "terminal_observation": self._with_task(found["final_obs"][i], i),
                "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
            }
        if done.any() and self.resample is not None:
            tasks = self._tasks()
            tasks[done] = self._task("sample_tasks")(int(done.sum()), self.resample)
            if self._set_tasks(tasks, done):  # else the new tasks would wait for the next end
                observations, _ = self.env.reset(options={"reset_mask": done})
        return self._with_task(observations), rewards.astype(np.float32), done, infos

    def close(self) -> None:
        """Close the environments."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return the vector environment's attribute once for each index."""
        value = getattr(self.vector, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the vector environment, which is one for all rows."""
        setattr(self.vector, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call `set_task(task)` for the chosen rows, or any other method once for all."""
        rows = list(self._get_indices(indices))
        if method_name == "set_task":
            tasks = self._tasks()
            tasks[rows] = method_args[0]
            self._set_tasks(tasks, np.isin(np.arange(self.num_envs), rows))
            return [None for _ in rows]
        result = getattr(self.vector, method_name)(*method_args, **method_kwargs)
        return [result for _ in rows]

    def env_is_wrapped(self, wrapper_class: type[Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Return False for each index: rows are not environments of their own."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return the pictures of the simulations that are shown."""
        return list(self.env.render() or [])  # type: ignore[arg-type]

    def _task(self, name: str) -> Any:
        """Return one of the task methods, which a wrapper of Gymnasium's hides."""
        return getattr(self.vector, name)

    def _set_tasks(self, tasks: NDArray[Any], rows: NDArray[np.bool_]) -> bool:
        """Give tasks to these rows; returns whether they wait for a reset."""
        if (of_rows := getattr(self.vector, "set_tasks_of", None)) is not None:
            of_rows(rows, tasks)
        else:
            self._task("set_tasks")(tasks)
        return getattr(self.vector, "tasks_start_at_reset", False)

    def _tasks(self) -> NDArray[Any]:
        """Return a copy of the tasks of all rows, `[rows, d]`."""
        tasks = self._task("tasks")
        if tasks is None:
            raise UserError("the rows have no tasks yet; give each its own by set_tasks first")
        return np.array(tasks)

    def _with_task(self, observation: NDArray[Any], row: int | None = None) -> NDArray[Any]:
        if not self.observe_task:
            return observation
        tasks = self._tasks()
        tasks = tasks if row is None else tasks[row]
        return np.concatenate([observation, tasks], axis=-1, dtype=self.observation_space.dtype)


def set_one_task(vec: VecMonitor, task: Any) -> None:
    """Give all rows of a monitored `SB3VecEnv` one task, `[d]`.

    Raises:
        UserError: If it is none of the environment's.
    """
    try:
        row = np.atleast_1d(np.asarray(task, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise UserError(f"a task is numbers [d], got {task!r}") from error
    shape = getattr(vec.venv.vector.task_space, "shape", None) or ()  # type: ignore[attr-defined]
    if row.ndim != 1 or (len(shape) == 1 and row.shape != shape):
        raise UserError(f"a task is numbers [d]{f', d = {shape[0]}' if shape else ''}; got {task!r}")
    try:
        vec.env_method("set_tasks", np.tile(row, (vec.num_envs, 1)))
    except ValueError as error:
        raise UserError(str(error)) from error


def _with_set_tasks(env: VectorEnv) -> VectorEnv:
    """Return the layer of a wrapped environment that sets tasks.

    Raises:
        UserError: If there is none.
    """
    layer: Any = env
    while not hasattr(layer, "set_tasks"):
        if not isinstance(layer, VectorWrapper):
            raise UserError(
                f"{type(layer).__name__} has no set_tasks; SB3VecEnv needs a vector environment of ours, or one that "
                "metarl.rl.environments.make_vec made of yours"
            )
        layer = layer.env
    return layer
