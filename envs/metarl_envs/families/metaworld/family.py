"""Meta-World's ML1 and ML10 as families: tasks, observation, reward and success of rows of several scenes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from metarl_envs.families.metaworld.goals import GOALS, draw, goal_vectors
from metarl_envs.families.metaworld.rows import HAND_HIGH, HAND_LOW, split
from metarl_envs.families.metaworld.scene import Scene
from metarl_envs.families.metaworld.scenes import ML10_TEST, ML10_TRAIN, find_scene, shared
from metarl_envs.family import Array, Family, Split, check_split
from metarl_envs.markers import ball

# the last three are always 0, but Gymnasium warns of a space in which they have to be
OBSERVATION_LOW = np.concatenate([np.tile([*HAND_LOW, -1.0, *[-np.inf] * 14], 2), -np.ones(3)])
OBSERVATION_HIGH = np.concatenate([np.tile([*HAND_HIGH, 1.0, *[np.inf] * 14], 2), np.ones(3)])


class MetaWorld(Family):
    """Rows of one or several scenes; a task names its scene and the random numbers that make it.

    A task takes effect at the next reset, as in the package.
    """

    scenes: Sequence[Scene]
    camera: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's own form
        "distance": 1.6,
        "azimuth": 150.0,
        "elevation": -25.0,
        "lookat": np.array([0.0, 0.65, 0.15]),
    }
    """Settings of the free camera."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(OBSERVATION_LOW, OBSERVATION_HIGH, dtype=np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    @abstractmethod
    def scene_of(self, task: Array) -> NDArray[np.int64]:
        """Return the index of the scene of each task `[N, d]`, `[N]`."""

    @abstractmethod
    def vector(self, task: Array) -> Array:
        """Return the random numbers of one task `[d]`."""

    @abstractmethod
    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> Array:
        """Draw n tasks of one of the fixed sets, `[n, d]`."""

    def observe(self, state: Array) -> Array:
        """Return now, the step before and three zeros, which hide the goal, `[N, 39]`."""
        rows = split(state)
        observation = np.concatenate([rows.frame, rows.before, np.zeros((len(state), 3))], axis=1)
        return np.clip(observation, OBSERVATION_LOW, OBSERVATION_HIGH, out=observation)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the scenes' rewards, in [0, 10]."""
        reward = np.zeros(len(state))
        for scene, rows in self._by_scene(next_state):
            reward[rows] = scene.reward(split(next_state[rows]), action[rows])
        return {"reward_task": reward}

    def success(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where the task is solved now, `[N]`."""
        success = np.zeros(len(next_state), np.bool_)
        for scene, rows in self._by_scene(next_state):
            success[rows] = scene.success(split(next_state[rows]))
        return success

    def _by_scene(self, state: Array) -> list[tuple[Scene, NDArray[np.int64] | slice]]:
        """Return each scene that is played, with its rows."""
        if len(self.scenes) == 1:
            return [(self.scenes[0], slice(None))]
        played = split(state).scene[:, 0].astype(np.int64)
        return [(self.scenes[i], np.flatnonzero(played == i)) for i in np.unique(played).tolist()]

    def markers(self, state: Array) -> list[dict[str, Any]]:
        """Show the goal."""
        return [ball(*split(state[None]).target[0], radius=0.02)]


class Vectors(spaces.Box):
    """The random numbers that make a task of one scene; some scenes want object and target apart."""

    def __init__(self, scene: Scene, seed: int | None = None) -> None:
        super().__init__(np.array(scene.low), np.array(scene.high), dtype=np.float64, seed=seed)
        self.scene = scene

    def contains(self, x: object) -> bool:
        """Return whether x lies in the ranges and the scene accepts it."""
        return super().contains(x) and self.scene.accepts(np.asarray(x))

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draw until the scene accepts it."""
        return draw(self.scene, self.np_random)

    def __repr__(self) -> str:
        """Show ranges and the least distance."""
        ranges = " × ".join(f"[{low:g}, {high:g}]" for low, high in zip(self.low, self.high, strict=True))
        return f"Vectors({self.scene.name}: {ranges})"


class ScenesAndVectors(spaces.Box):
    """The index of a scene, then its random numbers, then zeros up to six."""

    def __init__(self, scenes: Sequence[Scene], seed: int | None = None) -> None:
        self.parts = [Vectors(scene) for scene in scenes]
        low = np.zeros((len(scenes), 7))
        high = np.zeros((len(scenes), 7))
        for i, part in enumerate(self.parts):
            low[i, 0] = high[i, 0] = i
            low[i, 1 : 1 + part.shape[0]], high[i, 1 : 1 + part.shape[0]] = part.low, part.high
        super().__init__(low.min(0), high.max(0), dtype=np.float64, seed=seed)

    def contains(self, x: object) -> bool:
        """Return whether x is a scene's index and numbers of that scene."""
        if not isinstance(x, np.ndarray) or x.shape != self.shape or x[0] not in range(len(self.parts)):
            return False
        part = self.parts[int(x[0])]
        size = part.shape[0]
        return part.contains(x[1 : 1 + size]) and not x[1 + size :].any()

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draw a scene, then its numbers."""
        i = int(self.np_random.integers(len(self.parts)))
        return padded(i, draw(self.parts[i].scene, self.np_random))

    def __repr__(self) -> str:
        """Show the scenes."""
        return f"ScenesAndVectors({', '.join(f'{i}: {part.scene.name}' for i, part in enumerate(self.parts))})"


def padded(scene: int, vector: Array) -> Array:
    """Return the task `[7]` of a scene and its numbers."""
    return np.concatenate([[scene], vector, np.zeros(6 - len(vector))])


class MetaWorldML1(MetaWorld):
    """Move a robot's arm: one task class with 50 goals to train on and 50 held out; reward the class's own, in [0, 10].

    A task holds where the object starts and where it should go; the observation hides the goal. Tasks are drawn
    from the package's own 50 goals of the seed, its held-out ones (`split="test"`) or 50 of another seed
    (`split="validation"`); any other vector in the ranges can be set. A task takes effect at the next reset, and an
    episode starts the same way each time.

    Source: Yu et al. 2020 (Meta-World), metaworld 3.1.1 `ML1`.

    Args:
        task: Class of the tasks: reach, push, pick-place, or any other class of ML10.
        goal_seed: Chooses the goals, as the package's `ML1(task, seed)` does.
    """

    def __init__(self, task: str = "reach", goal_seed: int = 0) -> None:
        scene = find_scene(task)
        self.scenes = [scene]
        super().__init__()
        self.task_space = Vectors(scene)
        self.goals: dict[Split, Array] = {
            "train": goal_vectors([scene], goal_seed)[0],
            "validation": goal_vectors([scene], goal_seed + 2)[0],
            "test": goal_vectors([scene], goal_seed + 1)[0],
        }

    def scene_of(self, task: Array) -> NDArray[np.int64]:
        """Return zeros: there is one scene."""
        return np.zeros(len(task), np.int64)

    def vector(self, task: Array) -> Array:
        """Return the task itself."""
        return task

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> Array:
        """Draw n tasks of one of the sets, `[n, d]`; none twice before all were drawn."""
        return self.goals[check_split(split, self.name)][shuffled(GOALS, n, rng)]


class MetaWorldML10(MetaWorld):
    """Move a robot's arm: 10 classes of 50 goals to train on, 5 held out; reward each class's, in [0, 10].

    A task holds the class and where its object starts and should go; the observation hides both. Draws spread
    over the classes as evenly as their number allows; `split="test"` draws from the five other classes,
    `split="validation"` from other goals of those. A task takes effect at the next reset, and an episode starts the
    same way each time.

    Source: Yu et al. 2020 (Meta-World), metaworld 3.1.1 `ML10`.

    Args:
        goal_seed: Chooses the goals, as the package's `ML10(seed)` does.
    """

    def __init__(self, goal_seed: int = 0) -> None:
        self.scenes = [shared(kind) for kind in (*ML10_TRAIN, *ML10_TEST)]
        super().__init__()
        self.task_space = ScenesAndVectors(self.scenes)
        training, held_out = self.scenes[: len(ML10_TRAIN)], self.scenes[len(ML10_TRAIN) :]
        self.goals: dict[Split, list[Array]] = {
            "train": goal_vectors(training, goal_seed),
            "validation": goal_vectors(held_out, goal_seed + 1),
            "test": goal_vectors(held_out, goal_seed),  # the package draws both sets from the same seed
        }

    def scene_of(self, task: Array) -> NDArray[np.int64]:
        """Return the first numbers."""
        return task[:, 0].astype(np.int64)

    def vector(self, task: Array) -> Array:
        """Return the numbers that the task's scene takes."""
        return task[1 : 1 + len(self.scenes[int(task[0])].low)]

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> Array:
        """Draw n tasks, `[n, 7]`: classes as evenly as n allows, and one of 50 goals for each."""
        goals = self.goals[check_split(split, self.name)]
        first = 0 if split == "train" else len(ML10_TRAIN)
        chosen, drawn = shuffled(len(goals), n, rng), rng.integers(GOALS, size=n)
        return np.array([padded(first + i, goals[i][goal]) for i, goal in zip(chosen, drawn, strict=True)])


def shuffled(size: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return n indices below `size`, each as often as the others or once more."""
    rounds = [rng.permutation(size) for _ in range(-(-n // size))]
    return np.concatenate(rounds)[:n]
