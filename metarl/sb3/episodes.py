"""Episodes that a model plays: to measure it, or while it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv


def first_episodes(model: BaseAlgorithm, vec: VecEnv, deterministic: bool = False) -> tuple[NDArray[Any], int]:
    """Play one episode in every row.

    Args:
        model: What acts.
        vec: The environments.
        deterministic: Whether actions are the policy's most likely, not drawn.

    Returns:
        The undiscounted returns `[rows]`, and the environment steps taken.
    """
    obs, state, starts = vec.reset(), None, np.ones(vec.num_envs, np.bool_)
    total, alive, env_steps = np.zeros(vec.num_envs), np.ones(vec.num_envs, np.bool_), 0
    while alive.any():
        action, state = model.predict(obs, state, starts, deterministic)  # type: ignore[arg-type]
        obs, reward, starts, _ = vec.step(action)
        total += reward * alive
        env_steps += int(alive.sum())
        alive &= ~starts
    return total, env_steps


class Returns(BaseCallback):
    """Notes the returns of the first and the last episode that each row ends while a model learns.

    Those that end first of all would be the short ones. The rows need a `VecMonitor`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[int, float] = {}
        self.last: dict[int, float] = {}

    def _on_step(self) -> bool:
        ended = {row: info["episode"]["r"] for row, info in enumerate(self.locals["infos"]) if "episode" in info}
        self.first, self.last = {**ended, **self.first}, {**self.last, **ended}
        return True

    def means(self) -> dict[str, float]:
        """Return the means of the first and of the last ones; nothing if none ended."""
        if not self.first:
            return {}
        return {f"meta/return_step{i}": float(np.mean([*of.values()])) for i, of in enumerate((self.first, self.last))}
