"""One environment as a row of a vector environment: its task, and what it returns."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from metarl.errors import UserError


class TaskSlot(gymnasium.Wrapper):
    """Gives one environment an attribute `current_task`, through which a vector environment reaches `set_task`.

    It also looks at what the environment returns: an observation that does not fit the observation space, or a
    reward that is no number, is a `UserError` that names the task and the step.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._step = 0
        self._shape, self._kind = env.observation_space.shape, env.observation_space.dtype

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        self._step = 0
        observation, info = self._parts(self.env.reset(**kwargs), 2)
        self._check("observation", observation, self._shape)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment."""
        self._step += 1
        try:
            returned = self.env.step(action)
        except (AssertionError, TypeError, ValueError) as error:
            self._refuse_what_a_wrapper_does(error)
            raise
        observation, reward, terminated, truncated, info = self._parts(returned, 5)
        self._check("observation", observation, self._shape)
        self._check("reward", reward, ())
        return observation, reward, terminated, truncated, info

    def _parts(self, returned: Any, number: int) -> Any:
        """Refuse what is not so many values, of which the last is an info."""
        if isinstance(returned, tuple) and len(returned) == number and isinstance(returned[-1], dict):
            return returned
        what = "observation, info" if number == 2 else "observation, reward, terminated, truncated, info"
        got = f"{len(returned)} values" if isinstance(returned, tuple) and len(returned) != number else repr(returned)
        call = "step" if number == 5 else "reset"
        raise UserError(f"{self._here()}: {call} must return {what}, with a dict as info; got {got}")

    def _refuse_what_a_wrapper_does(self, error: Exception) -> None:
        """Raise a `UserError` if one of Gymnasium's wrappers could make nothing of what the environment returned."""
        file = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if file.parent.name == "wrappers" or file.name == "passive_env_checker.py":
            what = "observation, reward, terminated, truncated, info"
            raise UserError(f"{self._here()}: step must return {what}, with a dict as info; {error}") from error

    def _here(self) -> str:
        task = None if self.current_task is None else np.asarray(self.current_task).tolist()
        return f"{self.unwrapped} in task {task} at step {self._step}"

    def _check(self, what: str, value: Any, shape: tuple[int, ...] | None) -> None:
        """Refuse what is not an array of numbers of this shape."""
        found = np.asarray(value)
        if found.dtype.kind not in "biuf" or (shape is not None and found.shape != shape):
            got = f"{found.dtype} of shape {found.shape}" if found.dtype.kind in "biuf" else repr(value)
            raise UserError(f"{self._here()}: {what} must be numbers of shape {shape}, got {got}")
        kind = self._kind if what == "observation" else None
        if kind is not None and not np.can_cast(found.dtype, kind, "same_kind"):
            raise UserError(f"{self._here()}: {what} must be {kind} as in the observation space, got {found.dtype}")

    @property
    def current_task(self) -> NDArray[np.float64] | None:
        """The task last set; None, which is no task, leaves it as it is."""
        return self.__dict__.get("_current_task")

    @current_task.setter
    def current_task(self, task: NDArray[np.float64] | None) -> None:
        if task is None:
            return
        self.env.get_wrapper_attr("set_task")(task)
        self.__dict__["_current_task"] = task
