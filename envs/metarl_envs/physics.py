"""Physics as a task: distributions over the fields of any MuJoCo model."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled modules have no type stubs)

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from mujoco.batch import MODEL_FIELDS
from numpy.typing import NDArray

from metarl_envs.family import Array, Split, sample_split
from metarl_envs.mujoco_family import MujocoFamily
from metarl_envs.task_spaces import Joined

POSITIVE = ("body_mass", "body_inertia")
"""Fields whose values must stay positive."""

NOT_NEGATIVE = ("dof_damping", "dof_armature", "dof_frictionloss", "geom_friction", "opt.density", "opt.viscosity")
"""Fields whose values must not become negative."""


@dataclass(frozen=True)
class FieldRange:
    """The range from which a task draws one field of a MuJoCo model."""

    field: str
    """Name of the `MjModel` field (`body_mass`, `actuator_gear`, ...) or option (`opt.gravity`)."""
    low: float
    """Lowest number."""
    high: float
    """Highest number."""
    log: bool = False
    """Draw log-uniformly instead of uniformly."""
    shared: bool = False
    """Draw one number for all elements instead of one for each."""
    absolute: bool = False
    """The number replaces the model's own value instead of multiplying it."""
    elements: tuple[int, ...] | None = None
    """Elements of the flattened field; by default all but the world's body, and when multiplying all that
    are not zero."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If the range is empty or allows a value that the field cannot have.
        """
        if not self.low < self.high:
            raise ValueError(f"{self.field}: low must be less than high, got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.field}: a log-uniform range must be positive, got low={self.low}")
        if self.field in POSITIVE and self.low <= 0:
            raise ValueError(f"{self.field}: values must be positive, got low={self.low}")
        if self.field in NOT_NEGATIVE and self.low < 0:
            raise ValueError(f"{self.field}: values must not be negative, got low={self.low}")

    def __str__(self) -> str:
        """Show field and range."""
        return f"{self.field} {'' if self.absolute else 'times '}[{self.low:.3g}, {self.high:.3g}]"

    def sample(self, n: int, size: int, rng: np.random.Generator) -> Array:
        """Draw n tasks of `size` numbers each, `[n, size]`."""
        if not self.log:
            return rng.uniform(self.low, self.high, size=(n, size))
        draws = np.exp(rng.uniform(np.log(self.low), np.log(self.high), size=(n, size)))
        return np.clip(draws, self.low, self.high)


class Numbers(spaces.Box):
    """A Box with a description that is shorter than its bounds."""

    def __init__(self, low: Array, high: Array, description: str) -> None:
        super().__init__(low, high, dtype=np.float64)
        self.description = description

    def __repr__(self) -> str:
        """Show the description."""
        return f"Numbers({self.description})"


class RandomPhysics(MujocoFamily):
    """A MuJoCo family whose task also says the physics: its own task, then the numbers of each range.

    Reward, ends and observation are those of the base family. The vector environment gives every
    simulation its own fields (`Batch.expand`), the single one writes them into its own model; both
    then recompute the constants that follow from them (`mj_setConst`).

    Args:
        base: The family to vary.
        ranges: The fields and their ranges.

    Raises:
        ValueError: If the model lacks a field or an element; names the nearest match.
    """

    def __init__(self, base: MujocoFamily, ranges: Sequence[FieldRange]) -> None:
        self.base = base
        self.ranges = tuple(ranges)
        self.camera = base.camera
        self.model, self.frame_skip, self.dt, self.derived = base.model, base.frame_skip, base.dt, base.derived
        self.default_state = base.default_state
        self.observation_space, self.action_space = base.observation_space, base.action_space
        name = base.name
        self._defaults = {item.field: field_value(base.model, item.field, name) for item in self.ranges}
        self._elements = [_elements(item, self._defaults[item.field], name) for item in self.ranges]
        sizes = [1 if item.shared else len(at) for item, at in zip(self.ranges, self._elements, strict=True)]
        self._sizes = sizes
        low = np.repeat([float(item.low) for item in self.ranges], sizes)
        high = np.repeat([float(item.high) for item in self.ranges], sizes)
        self._own = base.task_space.shape[0]
        shown = [f"{size} × {item}" for item, size in zip(self.ranges, sizes, strict=True)]
        self.task_space = Joined(base.task_space, Numbers(low, high, ", ".join(shown)))

    @property
    def name(self) -> str:
        """Name of the family in messages; with physics given as an option that of the base family."""
        return self.base.name if type(self) is RandomPhysics else type(self).__name__

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> Array:
        """Draw n tasks, `[n, d]`: the base family's, of one of its sets if it has such, then the physics."""
        parts = [sample_split(self.base, n, rng, split)]
        parts += [item.sample(n, size, rng) for item, size in zip(self.ranges, self._sizes, strict=True)]
        return np.concatenate(parts, axis=1)

    def fields(self, task: Array) -> dict[str, Array]:
        """Return the model fields `[N, ...]` of the tasks."""
        n = len(task)
        fields = self.base.fields(task[:, : self._own])
        at = self._own
        for item, elements, size in zip(self.ranges, self._elements, self._sizes, strict=True):
            default = self._defaults[item.field]
            before = fields.get(item.field, np.broadcast_to(default, (n, *default.shape)))
            values = np.array(before).reshape(n, -1)
            numbers = task[:, at : at + size]
            values[:, elements] = numbers if item.absolute else values[:, elements] * numbers
            fields[item.field] = values.reshape(n, *default.shape)
            at += size
        return fields

    def initial_state(self, rng: np.random.Generator) -> Array:
        """Start as the base family does."""
        return self.base.initial_state(rng)

    def observe(self, state: Array) -> Array:
        """Return the base family's observations."""
        return self.base.observe(state)

    def control(self, action: Array, task: Array) -> Array:
        """Return the base family's controls."""
        return self.base.control(action, task[:, : self._own])

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the base family's terms."""
        return self.base.reward_terms(state, action, next_state, task[:, : self._own])

    def terminated(self, next_state: Array, task: Array) -> NDArray[np.bool_]:
        """Return where the base family ends."""
        return self.base.terminated(next_state, task[:, : self._own])

    def reward(self, terms: dict[str, Array]) -> Array:
        """Return the base family's reward."""
        return self.base.reward(terms)

    def success(self, next_state: Array, task: Array) -> NDArray[np.bool_] | None:
        """Return where the base family's task is solved."""
        return self.base.success(next_state, task[:, : self._own])

    def markers(self, state: Array, task: Array) -> list[dict[str, Any]]:
        """Return the base family's markers."""
        return self.base.markers(state, task[: self._own])

    def painted(self, task: Array) -> list[int]:
        """Return the base family's painted geoms."""
        return self.base.painted(task[: self._own])


def field_value(model: mujoco.MjModel, field: str, name: str) -> Array:
    """Return a copy of a field of the model.

    Raises:
        ValueError: If the field does not exist, holds no numbers to vary or is empty in this model.
    """
    if field not in MODEL_FIELDS:
        near = difflib.get_close_matches(field, sorted(MODEL_FIELDS), n=1) or difflib.get_close_matches(
            f"opt.{field}", sorted(MODEL_FIELDS), n=1
        )
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name}: unknown model field {field!r}{hint}")
    value = getattr(model.opt, field[4:]) if field.startswith("opt.") else getattr(model, field)
    value = np.array(value)
    if value.dtype.kind != "f" or field == "opt.timestep":
        raise ValueError(f"{name}: model field {field!r} cannot be part of a task: it is structure, not physics")
    if not value.size:
        raise ValueError(f"{name}: model field {field!r} has no elements in this model")
    return value.astype(np.float64)


def _elements(item: FieldRange, default: Array, name: str) -> np.ndarray:
    if item.elements is None and item.absolute:
        # the first row of a body's field is the world's, which has no mass
        return np.arange(default[0].size if item.field.startswith("body_") else 0, default.size)
    if item.elements is None:
        return np.flatnonzero(default)
    elements = np.asarray(item.elements, dtype=np.int64)
    if not elements.size or elements.min() < 0 or elements.max() >= default.size:
        raise ValueError(f"{name}: elements {item.elements} of {item.field!r}; expected some of 0..{default.size - 1}")
    return elements
