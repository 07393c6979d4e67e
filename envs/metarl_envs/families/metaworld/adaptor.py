"""Any of Meta-World's 50 classes in the package's own Python environments: slow, and what ours are tested against."""

from __future__ import annotations

import difflib
import importlib
import pickle
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from metarl_envs.families.metaworld.package import assets, set_welds
from metarl_envs.family import Array, Split, check_split


def package_env(task: str, render_mode: str | None = None) -> Any:
    """Return one of the package's environments, with its goal hidden and its welds as MuJoCo now wants them.

    Raises:
        ValueError: If the package is not installed, or has no such class; names the nearest.
    """
    assets()
    classes: Any = importlib.import_module("metaworld.env_dict").ALL_V3_ENVIRONMENTS
    base: Any = importlib.import_module("metaworld.sawyer_xyz_env").SawyerMocapBase
    # the package's own writes 11 numbers into the 12 that MuJoCo now has, which is an error
    base.reset_mocap_welds = lambda self: set_welds(self.model)
    name = f"{task.removesuffix('-v3')}-v3"
    if name not in classes:
        near = difflib.get_close_matches(name, classes, n=1)
        hint = f"; did you mean {near[0].removesuffix('-v3')!r}?" if near else ""
        raise ValueError(f"MetaWorld: unknown task {task!r}{hint}")
    return classes[name](render_mode=render_mode)


@lru_cache(maxsize=16)
def package_goals(task: str, seed: int) -> dict[str, Array]:
    """Return the 50 train and 50 test vectors `[50, d]` of the package's `ML1(task, seed)`; takes seconds."""
    package_env(task).close()
    benchmark = importlib.import_module("metaworld").ML1(f"{task.removesuffix('-v3')}-v3", seed=seed)
    sets = {"train": benchmark.train_tasks, "test": benchmark.test_tasks}
    return {name: np.array([pickle.loads(task.data)["rand_vec"] for task in tasks]) for name, tasks in sets.items()}


class MetaWorldEnv(gymnasium.Wrapper):
    """One of the package's environments with the three task methods; a task is the vector of random numbers.

    Source: Yu et al. 2020 (Meta-World), metaworld 3.1.1.

    Args:
        task: Name of one of the 50 classes, with or without the package's `-v3`.
        goal_seed: Chooses the goals, as the package's `ML1(task, seed)` does.
        render_mode: See the package.

    Raises:
        ValueError: As `package_env`.
    """

    def __init__(self, task: str = "reach", goal_seed: int = 0, render_mode: str | None = None) -> None:
        super().__init__(package_env(task, render_mode))
        self._name, self._seed = task, goal_seed
        space = self.env.unwrapped._random_reset_space  # pyright: ignore[reportAttributeAccessIssue]
        self.task_space = spaces.Box(space.low, space.high, dtype=np.float64)
        self.set_task((space.low + space.high) / 2.0)

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> Array:
        """Draw n of the package's own goals, `[n, d]`; those for validation are of another seed."""
        other = check_split(split, "MetaWorld") == "validation"
        goals = package_goals(self._name, self._seed + 2 * other)["train" if other else split]
        return goals[rng.integers(len(goals), size=n)]

    def set_task(self, task: Array) -> None:
        """Make `task` `[d]` the task from the next reset on.

        Raises:
            ValueError: If the task lies outside `task_space`.
        """
        task = np.array(task, dtype=np.float64)
        if not self.task_space.contains(task):
            raise ValueError(f"MetaWorld: task {task.tolist()} is outside its task space {self.task_space}")
        env: Any = self.env.unwrapped
        env._last_rand_vec, env._freeze_rand_vec, env._set_task_called = task, True, True
