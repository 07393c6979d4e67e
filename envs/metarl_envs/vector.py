"""N simulations of a family in lock-step, as a `gymnasium.vector.VectorEnv` with `set_tasks`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_envs.family import Array, Family, Split, sample_split
from metarl_envs.rendering import Frame, check_render_mode
from metarl_envs.single import check_actions
from metarl_envs.vector_infos import move_to_final, reset_mask, row_seeds, term_infos


class TaskVectorEnv(VectorEnv):
    """All simulations of a family side by side; a subclass knows how their states move.

    Row i behaves as the single environment reset with seed + i does, to the bit. In autoreset mode
    DISABLED a finished row stands still: its simulation is no longer stepped, its reward is 0 and
    its flags stay up until `reset(options={"reset_mask": ...})`.

    Args:
        num_envs: Number of simulations N.
        max_episode_steps: Steps after which an episode is truncated; None for never.
        autoreset_mode: Gymnasium's NEXT_STEP (default), SAME_STEP or DISABLED.
        render_mode: "rgb_array", or None.
        render_index: Simulation that `render` shows; None for all.
        render_size: Side of a picture in pixels.
        **options: Keyword arguments of the family.
    """

    family_type: ClassVar[type[Family]]
    has_physics: ClassVar[bool] = False
    """Whether a step spends its time in the physics engine instead of in Python."""
    tasks_start_at_reset: ClassVar[bool] = False
    """Whether a task decides how an episode starts, so that it takes effect at the row's next reset only."""
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own form

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        render_index: int | None = 0,
        render_size: int = 320,
        **options: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ValueError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.family = self._make_family(options)
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        name = self.family.name
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"], name)
        if render_index is not None and not 0 <= render_index < num_envs:
            raise ValueError(f"{name}: render_index={render_index}; expected None or one of 0..{num_envs - 1}")
        self.render_index = render_index
        self.render_size = render_size
        self.single_observation_space = self.family.observation_space
        self.single_action_space = self.family.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.task_space = self.family.task_space

        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._terminated = np.zeros(num_envs, dtype=np.bool_)
        self._truncated = np.zeros(num_envs, dtype=np.bool_)
        self._state: Array = np.zeros((num_envs, 0))
        self._build()
        first = self.sample_tasks(1, np.random.default_rng(0))
        self.set_tasks(np.repeat(first, num_envs, axis=0))

    # -- tasks -----------------------------------------------------------------------------------

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> Array:
        """Draw n tasks, `[n, d]`, of one of the family's sets if it has such."""
        return sample_split(self.family, n, rng, split)

    def set_tasks(self, tasks: Array) -> None:
        """Give simulation i the task `tasks[i]` from the next step on; tasks `[num_envs, d]`.

        Raises:
            ValueError: If the shape is wrong or a task lies outside `task_space`.
        """
        self.tasks = self.family.check_tasks(tasks, (self.num_envs, *self.task_space.shape))
        self._apply()

    # -- Gymnasium -------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start episodes in all rows, or in those of `options["reset_mask"]`.

        Args:
            seed: An int s seeds row i with s + i, as Gymnasium does; or one seed a row; None
                continues the rows' random streams.
            options: `reset_mask`, a bool array `[num_envs]` with at least one True.

        Returns:
            Observations `[num_envs, o]` of all rows and an empty info.
        """
        mask = reset_mask(options, self.num_envs)
        rows = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        if seed is not None:
            seeds = row_seeds(seed, self.num_envs)
            self._seed(rows if None not in seeds else rows[[seeds[i] is not None for i in rows.tolist()]], seeds)
        if not self._state.shape[1]:  # the first reset tells how long a state is; rows not in the mask start too
            rows = np.arange(self.num_envs)
        self._start(rows)
        return self.family.observe(self._state), {}

    def step(self, actions: Any) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance every running episode by one control step.

        Args:
            actions: `[num_envs, a]`; rows of finished episodes are ignored.

        Returns:
            Observations `[num_envs, o]`, rewards, terminated, truncated `[num_envs]` and infos with
            the reward's terms, `unstable` where simulations diverged (and `final_obs`,
            `final_info` in mode SAME_STEP).

        Raises:
            ValueError: If the actions have the wrong shape or are not finite.
        """
        if not self._state.shape[1]:
            raise ResetNeeded(f"{self.family.name}: call reset() before step()")
        shape = self.action_space.shape or ()
        actions = check_actions(actions, self.single_action_space, shape, self.family.name)
        done = self._terminated | self._truncated
        idle = done if done.any() else None
        rows = None if idle is None else np.flatnonzero(~idle)

        before = self._state
        self._state, unstable = self._move(rows, actions)
        terms, terminated, truncated = self._outcome(before, actions, unstable, idle)
        self._terminated, self._truncated = terminated, truncated
        infos = self._infos(terms, unstable, idle)
        ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            infos = move_to_final(infos, self.family.observe(self._state), ended)
            self._start(np.flatnonzero(ended))  # which lowers the rows' flags, not those to return
        else:
            if self.autoreset_mode is AutoresetMode.NEXT_STEP and idle is not None:
                self._start(np.flatnonzero(idle))
            terminated, truncated = self._terminated.copy(), self._truncated.copy()
        return self.family.observe(self._state), self.family.reward(terms), terminated, truncated, infos

    def render(self) -> tuple[Frame, ...] | None:
        """Return a picture `[size, size, 3]` of each shown simulation and its task, or None without a render mode."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called without a render mode; make the environment with one")
            return None
        if not self._state.shape[1]:
            raise ResetNeeded(f"{self.family.name}: call reset() before render()")
        shown = range(self.num_envs) if self.render_index is None else [self.render_index]
        return tuple(self._frame(i) for i in shown)

    # -- inside ----------------------------------------------------------------------------------

    def _outcome(
        self, before: Array, actions: Array, unstable: NDArray[np.bool_] | None, idle: NDArray[np.bool_] | None
    ) -> tuple[dict[str, Array], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the reward's terms, and which rows are terminated and truncated after a step; idle ones stay so."""
        terms = self.family.reward_terms(before, actions, self._state, self.tasks)
        terminated = self.family.terminated(self._state, self.tasks)
        if unstable is not None:
            terms = {name: np.where(unstable, 0.0, term) for name, term in terms.items()}
            terminated &= ~unstable
        self._elapsed += 1
        truncated = np.zeros(self.num_envs, np.bool_) if unstable is None else unstable.copy()
        if self.max_episode_steps is not None:
            truncated |= self._elapsed >= self.max_episode_steps
        if idle is not None:
            terms = {name: np.where(idle, 0.0, term) for name, term in terms.items()}
            terminated = np.where(idle, self._terminated, terminated)
            truncated = np.where(idle, self._truncated, truncated)
        return terms, terminated, truncated

    def _infos(
        self, terms: dict[str, Array], unstable: NDArray[np.bool_] | None, idle: NDArray[np.bool_] | None
    ) -> dict[str, Any]:
        """Return the infos of a step, whose masks leave out the idle rows."""
        active = ~idle if idle is not None else np.ones(self.num_envs, np.bool_)
        infos = term_infos(terms, active)
        success = self.family.success(self._state, self.tasks)
        if success is not None:
            solved = success & active if unstable is None else success & active & ~unstable
            infos |= {"success": solved, "_success": active.copy()}
        if unstable is not None:
            infos |= {"unstable": unstable, "_unstable": unstable.copy()}
        return infos

    def _start(self, rows: NDArray[np.int64]) -> None:
        """Begin an episode in these rows."""
        states = self._begin(rows)
        if len(rows) == self.num_envs:
            self._state = states
        else:
            self._state = self._state.copy()
            self._state[rows] = states
        self._elapsed[rows] = 0
        self._terminated = self._terminated.copy()
        self._truncated = self._truncated.copy()
        self._terminated[rows] = False
        self._truncated[rows] = False

    def _make_family(self, options: dict[str, Any]) -> Family:
        return self.family_type(**options)

    def _build(self) -> None:
        """Make what simulates the family, before the first tasks are set."""

    def _apply(self) -> None:
        """Give the simulations what they must know of `self.tasks`."""

    @abstractmethod
    def _seed(self, rows: NDArray[np.int64], seeds: Sequence[int | None]) -> None:
        """Start the random streams of these rows anew, that of row i from `seeds[i]`."""

    @abstractmethod
    def _begin(self, rows: NDArray[np.int64]) -> Array:
        """Draw the states in which episodes start and put the simulations `rows` there; returns their state rows."""

    @abstractmethod
    def _frame(self, row: int) -> Frame:
        """Draw one simulation and its task."""

    @abstractmethod
    def _move(self, rows: NDArray[np.int64] | None, actions: Array) -> tuple[Array, NDArray[np.bool_] | None]:
        """Step the simulations `rows` (None for all).

        Returns:
            The states of all rows `[N, s]` as a new array (unmoved where not stepped; the state
            before the step where the simulation diverged) and which diverged, or None for none.
        """
