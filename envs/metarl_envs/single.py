"""One environment of a family, as a `gymnasium.Env` with the three task methods."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from metarl_envs.family import Array, Family, Split, sample_split
from metarl_envs.rendering import Frame, check_render_mode


class TaskEnv(gymnasium.Env):
    """One simulation of a family; a subclass names the family and knows how its state moves.

    Args:
        task: Task `[d]` to begin with; by default the first one drawn by a fixed seed.
        render_mode: "rgb_array", or None.
        render_size: Side of the picture in pixels.
        **options: Keyword arguments of the family (its ranges, costs and variants).
    """

    family_type: ClassVar[type[Family]]
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own form

    def __init__(
        self, task: Array | None = None, render_mode: str | None = None, render_size: int = 320, **options: Any
    ) -> None:
        self.family = self._make_family(options)
        self.observation_space = self.family.observation_space
        self.action_space = self.family.action_space
        self.task_space = self.family.task_space
        name = self.family.name
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"], name)
        self.render_size = render_size
        self._state = np.zeros(0)
        self._build()
        self.set_task(self.sample_tasks(1, np.random.default_rng(0))[0] if task is None else task)

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> Array:
        """Draw n tasks, `[n, d]`, of one of the family's sets if it has such."""
        return sample_split(self.family, n, rng, split)

    def set_task(self, task: Array) -> None:
        """Make `task` `[d]` the task from the next step on.

        Raises:
            ValueError: If the task has the wrong shape or lies outside `task_space`.
        """
        self.task = self.family.check_tasks(task, self.task_space.shape)
        self._apply()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode; returns the observation `[o]` and an empty info."""
        super().reset(seed=seed)
        self._state = self._begin()
        return self.family.observe(self._state[None])[0], {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Advance one control step.

        Returns:
            Observation `[o]`, reward, terminated, truncated (only if the simulation diverged; the
            time limit is Gymnasium's wrapper) and the reward's terms.

        Raises:
            ValueError: If the action has the wrong shape or is not finite.
            ResetNeeded: Before the first reset.
        """
        if not self._state.size:
            raise ResetNeeded(f"{self.family.name}: call reset() before step()")
        action = check_actions(action, self.action_space, self.action_space.shape or (), self.family.name)
        before, task = self._state[None], self.task[None]
        self._state, unstable = self._move(action)
        after = self._state[None]
        terms = self.family.reward_terms(before, action[None], after, task)
        if unstable:
            terms = {name: np.zeros(1) for name in terms}
        reward = float(self.family.reward(terms)[0])
        terminated = bool(self.family.terminated(after, task)[0]) and not unstable
        info: dict[str, Any] = {name: float(term[0]) for name, term in terms.items()}
        success = self.family.success(after, task)
        if success is not None:
            info["success"] = bool(success[0]) and not unstable
        if unstable:
            info["unstable"] = True
        return self.family.observe(after)[0], reward, terminated, unstable, info

    def render(self) -> Frame | None:  # type: ignore[override]
        """Return a picture `[size, size, 3]` of the simulation and its task, or None without a render mode."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called without a render mode; make the environment with one")
            return None
        if not self._state.size:
            raise ResetNeeded(f"{self.family.name}: call reset() before render()")
        return self._frame()

    @abstractmethod
    def _frame(self) -> Frame:
        """Draw the simulation and its task."""

    def _make_family(self, options: dict[str, Any]) -> Family:
        return self.family_type(**options)

    def _build(self) -> None:
        """Make what simulates the family, before the first task is set."""

    def _apply(self) -> None:
        """Give the simulation what it must know of `self.task`."""

    @abstractmethod
    def _begin(self) -> Array:
        """Draw the state in which an episode starts and put the simulation there; returns the state row."""

    @abstractmethod
    def _move(self, action: Array) -> tuple[Array, bool]:
        """Return the next state and whether the simulation diverged (then the state before it)."""


def check_actions(actions: Any, space: spaces.Space, shape: tuple[int, ...], name: str) -> Array:
    """Return the actions as an array of this shape.

    Raises:
        ValueError: If they have another shape, hold a value that is not finite, or are no members of
            a discrete space.
    """
    discrete = isinstance(space, spaces.Discrete)
    # in C order, because the order of memory decides the order of a sum's terms
    actions = np.asarray(actions, dtype=None if discrete else np.float64, order="C")
    if actions.shape != shape:
        raise ValueError(f"{name}: actions of shape {actions.shape}; expected {shape}, actions of {space}")
    if discrete:
        if actions.dtype.kind not in "iu":
            raise ValueError(f"{name}: actions of type {actions.dtype}; expected whole numbers, actions of {space}")
        wrong = (actions < space.start) | (actions >= space.start + space.n)
        if np.any(wrong):
            row = int(np.argmax(wrong))
            raise ValueError(f"{name}: action {actions.ravel()[row]} in row {row} is not a member of {space}")
    elif not np.isfinite(actions).all():
        rows = actions.reshape(-1, space.shape[0]) if space.shape else actions.reshape(-1, 1)
        row = int(np.argmax(~np.isfinite(rows).all(axis=-1)))
        raise ValueError(f"{name}: action {rows[row].tolist()} in row {row} is not finite; expected one of {space}")
    return actions
