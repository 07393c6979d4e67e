"""The configurations of runs: in environments, and on supervised tasks."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from metarl.errors import OnNan, UserError, check_counts, check_fields, check_positive, did_you_mean
from metarl.methods import MAML, METHODS, SUPERVISED, Method, method_name
from metarl.rl.advantages import BASELINES
from metarl.rl.environments import Vectorization
from metarl.rl.losses import INNER_LOSSES
from metarl.rl.policies import Activation
from metarl.workers.ray_cluster import check_workers

DATA = ("sinusoid", "glyphs", "omniglot", "folder")
"""Supervised tasks there are."""


SAMPLERS = {
    *("source", "num_envs", "horizon", "vectorization", "autoreset_mode", "max_episode_steps"),
    *("id", "name", "make", "self", "wrappers", "vector_kwargs", "vectorization_mode", "additional_wrappers"),
}
"""Options that are the sampler's or Gymnasium's own."""

LARGEST_SEED = 2**63 - 1
"""What torch's generators take."""


@dataclass(frozen=True, kw_only=True)
class Settings(ABC):
    """What every run depends on."""

    method: Method = field(default_factory=MAML)
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

    @property
    @abstractmethod
    def methods(self) -> dict[str, Method]:
        """The methods of ours that learn such tasks, by name, with their settings for that."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """Where the tasks come from, which a resumed run must share."""

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self, "method")
        check_is_method(self.method)
        counts = ("tasks", "iterations", "log_every", "eval_every", "eval_tasks")
        check_counts(**{name: (getattr(self, name), 1) for name in (*counts, "checkpoint_every", "keep_checkpoints")})
        if self.eval_steps < 0 or self.seed < 0:
            raise UserError(f"eval_steps and seed must be 0 or more, got {self.eval_steps} and {self.seed}")
        if self.seed > LARGEST_SEED:
            raise UserError(f"seed must be at most 2^63 - 1 = {LARGEST_SEED}, got {self.seed}")
        check_positive(later_lr=self.later_lr, worker_timeout=self.worker_timeout)
        check_workers(self.workers, self.tasks, self.device)
        self.method.check(self)


def check_is_method(method: Any) -> None:
    """Refuse what is no method, or has settings that no file can hold.

    Raises:
        UserError: If it is or has.
    """
    if isinstance(method, type):
        raise UserError(f"method takes an object such as {method.__name__}(), got the class itself")
    needed = [name for name in vars(Method) if not name.startswith("_")] + ["outer", "inner_steps"]
    lacking = [name for name in needed if not hasattr(method, name)]
    if lacking:
        raise UserError(
            f"{type(method).__name__} is no method, it lacks {', '.join(lacking)}; inherit from metarl.methods.Method"
        )
    if dataclasses.is_dataclass(method):
        try:
            json.dumps(dataclasses.asdict(method), allow_nan=False)  # type: ignore[call-overload]
        except (TypeError, ValueError) as error:
            raise UserError(f"settings of {type(method).__name__} must be numbers, texts or None ({error})") from error


@dataclass(frozen=True)
class Config(Settings):
    """Everything a run depends on; same configuration, same run bit for bit on the same machine."""

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
    baseline: str = "linear"
    """What each task's returns are fitted by: linear in features of state and time; network, a small one; or
    module:function."""
    inner_loss: str = "likelihood-ratio"
    """Form of the inner policy-gradient loss: likelihood-ratio, log-likelihood, dice, or module:function."""
    policy: str = "built-in"
    """The policy network: built-in, a perceptron (or a conv network on pictures); or module:function that makes it."""
    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer of the built-in policy."""
    activation: Activation = "tanh"
    """What follows each hidden layer of the built-in policy."""
    layer_norm: bool = False
    """Normalise each hidden layer of the built-in policy before its activation."""
    last_layer_std: float | None = None
    """Standard deviation of the last layer's initial weights in the built-in policy; by default Xavier-uniform."""
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

    @property
    def methods(self) -> dict[str, Method]:
        """All methods."""
        return METHODS

    @property
    def origin(self) -> str:
        """The environment."""
        return self.env

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        horizon = 1 if self.horizon is None else self.horizon
        check_counts(episodes=(self.episodes, 1), eval_episodes=(self.eval_episodes, 1), horizon=(horizon, 1))
        check_positive(init_std=self.init_std, action_scale=self.action_scale)
        if self.last_layer_std is not None:
            check_positive(last_layer_std=self.last_layer_std)
        _known(INNER_LOSSES, self.inner_loss, "inner loss")
        _known(BASELINES, self.baseline, "baseline")
        _known(("built-in",), self.policy, "policy")
        for name in self.env_options.keys() & SAMPLERS:
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


@dataclass(frozen=True)
class FewShotConfig(Settings):
    """Everything a run on supervised tasks depends on; same configuration, same run bit for bit on the same machine."""

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
    def methods(self) -> dict[str, Method]:
        """Those that learn from labelled examples."""
        return SUPERVISED

    @property
    def origin(self) -> str:
        """The data, and the kind of tasks drawn from them."""
        return self.data + f", {self.ways}-way" * self.pictures + ", oracle" * self.oracle

    @property
    def pictures(self) -> bool:
        """Whether the tasks are classification of pictures."""
        return self.data != "sinusoid"

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if self.data not in DATA:
            raise UserError(f"unknown data {self.data!r}{did_you_mean(self.data, DATA)}; there are {', '.join(DATA)}")
        check_counts(**{name: (getattr(self, name), 1) for name in ("shots", "queries", "eval_queries", "filters")})
        check_counts(ways=(self.ways, 2))
        if self.network not in ("mlp", "conv") or (self.network == "conv" and not self.pictures):
            raise UserError(f"network must be mlp{' or conv' * self.pictures}, got {self.network!r}")
        if self.oracle and self.pictures:
            raise UserError("the oracle is for the sinusoid only")
        if self.folder and self.data not in ("omniglot", "folder"):
            raise UserError(f"folder is for data omniglot or folder, the others have none; got {self.folder!r}")
        _widths(self.hidden)
        name = method_name(self.method)
        if name not in SUPERVISED and ":" not in name:
            raise UserError(f"method {name} is for reinforcement learning only; here are {', '.join(SUPERVISED)}")


def _known(names: Iterable[str], name: str, what: str) -> None:
    """Refuse a name that is none of ours and no `module:name`."""
    if name not in names and ":" not in name:
        known = ", ".join(names)
        raise UserError(f"unknown {what} {name!r}{did_you_mean(name, names)}; there are {known} or module:name")


def _widths(hidden: tuple[int, ...]) -> None:
    if any(width < 1 for width in hidden):
        raise UserError(f"hidden widths must be at least 1, got {hidden}")
