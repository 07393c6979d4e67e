"""The 50 goals of a class, those that the package draws from the same seed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from metarl_envs.families.metaworld.scene import Scene
from metarl_envs.family import Array

GOALS = 50
"""Goals of a class in each set."""


def goal_vectors(scenes: Iterable[Scene], seed: int) -> list[Array]:
    """Return the goals `[50, d]` of each scene, in the order in which the package draws them.

    It draws with NumPy's global generator, for one class after the other. A reset there arranges the scene
    twice and draws each time; the second one counts.
    """
    rng = np.random.RandomState(seed)
    return [np.array([(draw(scene, rng), draw(scene, rng))[1] for _ in range(GOALS)]) for scene in scenes]


def draw(scene: Scene, rng: np.random.RandomState | np.random.Generator) -> Array:
    """Draw one vector of a scene, until it accepts it."""
    while True:
        vector = rng.uniform(scene.low, scene.high, size=len(scene.low))
        if scene.accepts(vector):
            return vector
