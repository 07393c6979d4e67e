"""The state row of a Meta-World environment, the same for every scene: what observation and reward are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarl_envs.family import Array

FRAME = 18
"""Numbers of a frame: hand, opening of the gripper, and position and quaternion of up to two objects."""

COLUMNS = {
    "frame": FRAME,
    "before": FRAME,
    "tcp": 3,
    "left": 3,
    "right": 3,
    "extra": 15,
    "mocap": 3,
    "target": 3,
    "object_start": 3,
    "tcp_start": 3,
    "extra_start": 3,
    "scene": 1,
}
"""The parts of a row and how long they are."""

_ENDS = np.cumsum(list(COLUMNS.values())).tolist()
SLICES = {name: slice(end - size, end) for (name, size), end in zip(COLUMNS.items(), _ENDS, strict=True)}
SIZE = _ENDS[-1]
"""Length of a row."""


@dataclass(frozen=True)
class Rows:
    """Views of the parts of N rows; positions in m, in the world's frame."""

    frame: Array
    """What the observation shows of now, `[N, 18]`."""
    before: Array
    """The frame of the step before, `[N, 18]`."""
    tcp: Array
    """Centre between the two fingertips, `[N, 3]`."""
    left: Array
    """Left pad of the gripper, `[N, 3]`."""
    right: Array
    """Right pad, `[N, 3]`."""
    extra: Array
    """What only this scene needs, `[N, 15]`."""
    mocap: Array
    """The body that the hand follows, `[N, 3]`."""
    target: Array
    """Where the object shall go, `[N, 3]`."""
    object_start: Array
    """The object at the start of the episode, `[N, 3]`."""
    tcp_start: Array
    """`tcp` at the start of the episode, `[N, 3]`."""
    extra_start: Array
    """What only this scene needs of the start, `[N, 3]`."""
    scene: Array
    """Index of the scene, `[N, 1]`."""

    @property
    def hand(self) -> Array:
        """The hand, as the observation shows it, `[N, 3]`."""
        return np.clip(self.frame[:, :3], HAND_LOW, HAND_HIGH)

    @property
    def opened(self) -> Array:
        """Opening of the gripper in [0, 1], `[N]`."""
        return self.frame[:, 3]

    @property
    def object(self) -> Array:
        """The object, `[N, 3]`."""
        return self.frame[:, 4:7]


HAND_LOW, HAND_HIGH = np.array([-0.525, 0.348, -0.0525]), np.array([0.525, 1.025, 0.7])
"""Bounds of the hand in the observation; it is clipped to them."""


def split(state: Array) -> Rows:
    """Return views of the parts of the rows `[N, s]`."""
    return Rows(**{name: state[:, part] for name, part in SLICES.items()})
