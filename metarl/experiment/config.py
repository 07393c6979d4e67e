"""The configurations of runs: in environments, and on supervised tasks."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

from typeguard import TypeCheckError, check_type

from metarl.errors import OnNan, UserError, check_counts, check_positive, did_you_mean
from metarl.learners import EMAML, LEARNERS, MAML, OUTERS, RL2, SUPERVISED, AnyLearner, ProMP, method_of
from metarl.ray_cluster import check_workers
from metarl.rl.advantages import Baseline
from metarl.rl.losses import InnerLoss
from metarl.rl.make import Vectorization

DATA = ("sinusoid", "glyphs", "omniglot", "folder")
"""Supervised tasks there are."""


@dataclass(frozen=True, kw_only=True)
class Settings(ABC):
    """What every run depends on."""

    learner: AnyLearner = field(default_factory=MAML)
    """The meta-learning method."""
    tasks: int = 20
    """Tasks a meta-iteration."""
    iterations: int = 100
    """Meta-iterations of the whole run."""
    seed: int = 0
    """Seed of everything random."""
    log_every: int = 1
    """Meta-iterations between lines of the logs."""
    eval_every: int = 20
    """Meta-iterations between evaluations on held-out tasks."""
    eval_tasks: int = 40
    """Held-out tasks an evaluation."""
    eval_steps: int = 3
    """Gradient steps of an evaluation."""
    later_lr: float = 0.5
    """Factor on the inner step size beyond the steps trained with."""
    checkpoint_every: int = 10
    """Meta-iterations between checkpoints."""
    keep_checkpoints: int = 3
    """Checkpoints kept beside the best one."""
    device: str = "cpu"
    """Where the meta-update runs; sampling stays on the CPU."""
    workers: int | str = "local"
    """Who does the work: local, this process; N Ray actors on this machine; or auto or ray://HOST[:PORT], a cluster."""
    worker_timeout: float = 1800.0
    """Seconds after which a Ray actor that gives no answer counts as hung."""
    on_nan: OnNan = "stop"
    """Where something of a task is not finite: stop the run, or drop the task from the meta-iteration and count it."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What the tasks are."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        counts = ("tasks", "iterations", "log_every", "eval_every", "eval_tasks")
        check_counts(**{name: (getattr(self, name), 1) for name in (*counts, "checkpoint_every", "keep_checkpoints")})
        if self.eval_steps < 0 or self.seed < 0:
            raise UserError(f"eval_steps and seed must be 0 or more, got {self.eval_steps} and {self.seed}")
        check_positive(later_lr=self.later_lr, worker_timeout=self.worker_timeout)
        check_workers(self.workers, self.tasks, self.device)
        _one_of(self, "on_nan", OnNan)

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON takes it, with the names of the method and its outer update."""
        values = dataclasses.asdict(self)
        outer = next(name for name, kind in OUTERS.items() if type(self.learner.outer) is kind)
        values["learner"] = {"method": method_of(self.learner), **values["learner"]}
        values["learner"]["outer"] = {"name": outer, **values["learner"]["outer"]}
        return values

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Config | FewShotConfig:
        """Return the configuration that `as_dict` gave.

        Raises:
            UserError: If a field, the method or its outer update is unknown, or a value is of the wrong kind.
        """
        try:
            learner = dict(values["learner"])
            outer = dict(learner["outer"])
            learner["outer"] = _build(_known(OUTERS, outer.pop("name"), "outer update"), outer)
            method = type(_known(LEARNERS, learner.pop("method"), "method"))
            kind = FewShotConfig if "data" in values else Config
            return _build(kind, {**values, "learner": _build(method, learner), "hidden": tuple(values["hidden"])})
        except UserError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"no settings of a run ({error!r})") from error


@dataclass(frozen=True)
class Config(Settings):
    """Everything a run depends on; same configuration, same run to the bit on the same machine."""

    env: str
    """Gymnasium id of the task distribution."""
    env_options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """Keyword arguments of the environment, as KEY VALUE pairs."""
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
    eval_episodes: int = 20
    """Episodes an evaluation plays per task and step."""
    film: bool = False
    """Show a task before and after adaptation as a small film in TensorBoard, at every evaluation."""
    vectorization: Vectorization = "sync"
    """For environments without a vector environment of their own: one process or one each."""

    @property
    def title(self) -> str:
        """The environment."""
        return self.env

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        horizon = 1 if self.horizon is None else self.horizon
        check_counts(episodes=(self.episodes, 1), eval_episodes=(self.eval_episodes, 1), horizon=(horizon, 1))
        check_positive(init_std=self.init_std, action_scale=self.action_scale)
        choices = {"inner_loss": InnerLoss, "baseline": Baseline, "vectorization": Vectorization}
        for name, kind in choices.items():
            _one_of(self, name, kind)
        for name in self.env_options.keys() & {"source", "num_envs", "horizon", "vectorization", "autoreset_mode"}:
            raise UserError(f"env_options cannot set {name}, which is the sampler's own")
        for name, value in self.env_options.items():
            if not isinstance(value, int | float | str):
                raise UserError(
                    f"env_options takes numbers, texts, True and False, got {name}={value!r}; give a function as env"
                )
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        _widths(self.hidden)
        if isinstance(self.learner, RL2) and self.inner_loss != Config.inner_loss:
            raise UserError(f"rl2 adapts its memory and has no inner loss, got {self.inner_loss}")
        if isinstance(self.learner, ProMP) and self.inner_loss == "log-likelihood":
            raise UserError("ProMP needs an inner loss with the right second derivative: likelihood-ratio or dice")
        if isinstance(self.learner, EMAML) and self.tasks < 2:
            raise UserError("E-MAML needs at least 2 tasks: what exploration earns is relative to their mean")


@dataclass(frozen=True)
class FewShotConfig(Settings):
    """Everything a run on supervised tasks depends on; same configuration, same run to the bit on the same machine."""

    data: str
    """The tasks: sinusoid; or pictures of letters: glyphs (drawn from fonts), omniglot, folder (FOLDER/CLASS/*.png)."""
    shots: int = 10
    """Examples a task is adapted to; of each class in classification."""
    queries: int = 10
    """Examples that judge the adapted network; of each class in classification."""
    oracle: bool = False
    """Tell the network the sine's amplitude and phase: nothing is left to adapt to."""
    ways: int = 5
    """Classes of a task of pictures."""
    folder: str = ""
    """Where the pictures of omniglot (the folder of images_background) or of any other folder lie."""
    network: Literal["mlp", "conv"] = "mlp"
    """Kind of network: conv, of four blocks, is for pictures."""
    filters: int = 32
    """Channels of each block of the conv network."""
    hidden: tuple[int, ...] = (40, 40)
    """Width of each hidden layer of the mlp."""
    later_lr: float = field(default=1.0, kw_only=True)
    """Factor on the inner step size beyond the steps trained with."""
    eval_queries: int = 100
    """Examples that judge the network in an evaluation; of each class in classification."""

    @property
    def title(self) -> str:
        """The tasks and the number of shots."""
        return f"{self.data}, {f'{self.ways}-way ' if self.pictures else ''}{self.shots}-shot"

    @property
    def pictures(self) -> bool:
        """Whether the tasks are classification of pictures."""
        return self.data != "sinusoid"

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        _known(dict.fromkeys(DATA), self.data, "data")
        check_counts(**{name: (getattr(self, name), 1) for name in ("shots", "queries", "eval_queries", "filters")})
        check_counts(ways=(self.ways, 2))
        if self.network not in ("mlp", "conv") or (self.network == "conv" and not self.pictures):
            raise UserError(f"network must be mlp{' or conv' * self.pictures}, got {self.network!r}")
        if self.oracle and self.pictures:
            raise UserError("the oracle is for the sinusoid only")
        if self.folder and self.data not in ("omniglot", "folder"):
            raise UserError(f"folder is for data omniglot or folder, the others have none; got {self.folder!r}")
        _widths(self.hidden)
        method = method_of(self.learner)
        if method not in SUPERVISED:
            raise UserError(f"method {method} is for reinforcement learning only; here are {', '.join(SUPERVISED)}")


def _one_of(config: Settings, name: str, kind: Any) -> None:
    if getattr(config, name) not in get_args(kind):
        raise UserError(f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(config, name)!r}")


def _widths(hidden: tuple[int, ...]) -> None:
    if any(width < 1 for width in hidden):
        raise UserError(f"hidden widths must be at least 1, got {hidden}")


def _known(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise UserError(f"unknown {what} {name!r}{did_you_mean(name, table)}; there are {', '.join(table)}")
    return table[name]


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    known = [f.name for f in dataclasses.fields(kind)]
    for name in values:
        if name not in known:
            raise UserError(f"unknown setting {name!r} of {kind.__name__}{did_you_mean(name, known)}")
    for name, hint in get_type_hints(kind).items():
        try:
            check_type(values.get(name), hint if name in values else Any)
        except TypeCheckError as error:
            raise UserError(f"{name} must be {_shown(hint)}, got {values[name]!r}") from error
    return kind(**values)


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


FREE = {
    "iterations",
    "device",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "film",
    "workers",
    "worker_timeout",
    "on_nan",
}
"""Settings that may change when a run is resumed: the meta-params it computes stay the same.

Up to rounding, and while all is finite.
"""


def differences(old: Settings, new: Settings) -> list[str]:
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
