"""The configuration of a run."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, get_args

from metarl.errors import UserError, did_you_mean
from metarl.learners import LEARNERS, MAML, OUTERS, AnyLearner, method_of
from metarl.rl.advantages import Baseline
from metarl.rl.losses import InnerLoss
from metarl.rl.make import Vectorization


@dataclass(frozen=True)
class Config:
    """Everything a run depends on; same configuration, same run to the bit on the same machine."""

    env: str
    """Gymnasium id of the task distribution."""
    env_options: dict[str, int | float | str] = field(default_factory=dict)
    """Keyword arguments of the environment, as KEY VALUE pairs."""
    learner: AnyLearner = field(default_factory=MAML)
    """The meta-learning method."""
    tasks: int = 20
    """Tasks a meta-iteration."""
    episodes: int = 20
    """Episodes a task and inner step."""
    horizon: int | None = None
    """Longest episode, in steps; by default the environment's own."""
    discount: float = 0.99
    """Discount factor γ."""
    gae_lambda: float = 1.0
    """Decay λ of generalised advantage estimation."""
    baseline: Baseline = "linear"
    """What each task's returns are fitted by: linear in features of state and time, or a small value network."""
    inner_loss: InnerLoss = "likelihood-ratio"
    """Form of the inner policy-gradient loss."""
    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer of the policy."""
    init_std: float = 1.0
    """Standard deviation of the policy's actions to begin with, in its own units."""
    action_scale: float = 1.0
    """The environment's actions are this times the policy's."""
    iterations: int = 100
    """Meta-iterations of the whole run."""
    seed: int = 0
    """Seed of everything random."""
    eval_every: int = 20
    """Meta-iterations between evaluations on held-out tasks."""
    eval_tasks: int = 40
    """Held-out tasks an evaluation."""
    eval_episodes: int = 20
    """Episodes an evaluation plays per task and step."""
    eval_steps: int = 3
    """Gradient steps of an evaluation."""
    later_lr: float = 0.5
    """Factor on the inner step size beyond the steps trained with, in evaluations only."""
    checkpoint_every: int = 10
    """Meta-iterations between checkpoints."""
    keep_checkpoints: int = 3
    """Checkpoints kept beside the best one."""
    vectorization: Vectorization = "sync"
    """For environments without a vector environment of their own: one process or one each."""
    device: str = "cpu"
    """Where the meta-update runs; sampling stays on the CPU."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        counts = ("tasks", "episodes", "iterations", "eval_every", "eval_tasks", "eval_episodes")
        for name in (*counts, "checkpoint_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.horizon is not None and self.horizon < 1:
            raise UserError(f"horizon must be at least 1, got {self.horizon}")
        if self.eval_steps < 0 or self.seed < 0:
            raise UserError(f"eval_steps and seed must be 0 or more, got {self.eval_steps} and {self.seed}")
        for name in ("init_std", "action_scale", "later_lr"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UserError(f"{name} must be positive and finite, got {getattr(self, name)}")
        choices = {"inner_loss": InnerLoss, "baseline": Baseline, "vectorization": Vectorization}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise UserError(f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")
        for name, value in self.env_options.items():
            if not isinstance(value, int | float | str):
                raise UserError(f"env_options takes numbers and texts, got {name}={value!r}; give a function as env")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if any(width < 1 for width in self.hidden):
            raise UserError(f"hidden widths must be at least 1, got {self.hidden}")

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON takes it, with the names of the method and its outer update."""
        values = dataclasses.asdict(self)
        outer = next(name for name, kind in OUTERS.items() if type(self.learner.outer) is kind)
        values["learner"] = {"method": method_of(self.learner), **values["learner"]}
        values["learner"]["outer"] = {"name": outer, **values["learner"]["outer"]}
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Return the configuration that `as_dict` gave.

        Raises:
            UserError: If a field, the method or its outer update is unknown.
        """
        learner = dict(values["learner"])
        outer = dict(learner["outer"])
        learner["outer"] = _build(_known(OUTERS, outer.pop("name"), "outer update"), outer)
        kind = type(_known(LEARNERS, learner.pop("method"), "method"))
        return _build(cls, {**values, "learner": _build(kind, learner), "hidden": tuple(values["hidden"])})


def _known(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise UserError(f"unknown {what} {name!r}{did_you_mean(name, table)}; there are {', '.join(table)}")
    return table[name]


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    known = [f.name for f in dataclasses.fields(kind)]
    for name in values:
        if name not in known:
            raise UserError(f"unknown setting {name!r} of {kind.__name__}{did_you_mean(name, known)}")
    return kind(**values)


FREE = {"iterations", "device", "checkpoint_every", "keep_checkpoints"}
"""Settings that may change when a run is resumed: the meta-params it computes stay the same."""


def differences(old: Config, new: Config) -> list[str]:
    """Return the settings in which a resumed run would differ, as `name: old -> new`."""
    before, after = _flat(old.as_dict()), _flat(new.as_dict())
    names = sorted((before.keys() | after.keys()) - FREE)
    return [f"{n}: {before.get(n)!r} -> {after.get(n)!r}" for n in names if before.get(n) != after.get(n)]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat
