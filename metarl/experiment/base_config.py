"""What the configurations of all runs have in common, and what is asked of each."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from metarl.core.exact import MOST
from metarl.errors import OnNan, UserError, check_counts, check_fields, check_positive
from metarl.experiment.parts import Parts
from metarl.methods import MAML, Method, method_name
from metarl.workers.ray_cluster import check_workers

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

    plays_episodes: ClassVar[bool]
    """Whether the tasks are environments, in which episodes are played; else they have labelled examples."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the tasks come from: the environment's id, or the name of the data."""

    @property
    def title(self) -> str:
        """What the tasks are."""
        return self.source

    @property
    def origin(self) -> str:
        """Where the tasks come from and which kind they are, which a resumed run must share."""
        return self.source

    @property
    @abstractmethod
    def methods(self) -> dict[str, Method]:
        """The methods of ours that learn such tasks, by name, with their settings for that."""

    @property
    def named_parts(self) -> dict[str, str]:
        """Objects of the user's that this names as `module:name`, by setting; the method aside."""
        return {}

    @property
    def own_modules(self) -> list[str]:
        """Modules of the user's that hold what this names, its method too."""
        names = [*self.named_parts.values(), method_name(self.method)]
        return sorted({name.partition(":")[0] for name in names if ":" in name})

    @abstractmethod
    def build(
        self, parts: Parts, held_out: bool = False, tasks: int | None = None, episodes: int | None = None
    ) -> Any:  # an `InnerLoop`, whose class each kind of configuration names
        """Build the inner loop of training or of held-out tasks.

        Args:
            parts: Objects that the configuration names.
            held_out: Whether it is to evaluate.
            tasks: Number of tasks; by default as many as the configuration says.
            episodes: Episodes of each, where episodes are played; by default as many as the configuration says.

        Raises:
            UserError: If the tasks, the network or the device cannot be used, or memory would not suffice.
        """

    @abstractmethod
    def check_held_out(self, parts: Parts) -> None:
        """Refuse held-out data that no evaluation could use, where that is known before one.

        Args:
            parts: Objects that the configuration names.

        Raises:
            UserError: If a class or a picture is missing, say.
        """

    def check_heeded(self) -> None:  # noqa: B027 - there may be nothing to refuse
        """Refuse settings of a new run that nothing would heed.

        Raises:
            UserError: If there are such.
        """

    def warn_of_unheard(self, inner_loop: Any) -> None:  # noqa: B027 - there may be nothing to warn of
        """Warn of settings that nothing heeds, where only the environment that was made tells."""

    def registration(self, parts: Parts) -> list[Any]:
        """Return what another process has to be told of ids of Gymnasium's."""
        return []

    @property
    @abstractmethod
    def batched(self) -> bool:
        """Whether many tasks are computed at a time outside of Python, so that threads may share them."""

    @abstractmethod
    def judging(self, held_out: bool) -> int:
        """Return how many data judge a task, in training or an evaluation: episodes, or examples (of each class)."""

    @property
    @abstractmethod
    def least_params(self) -> int:
        """How many params the network has at least: a single number may go in and come out."""

    @abstractmethod
    def least_data(self, judging: int) -> int:
        """Return how many numbers a task's data are at least, with so many that judge it."""

    @abstractmethod
    def sizes(self, tasks: int, judging: int) -> str:
        """Return in words what decides how much memory so many tasks take."""

    @property
    @abstractmethod
    def iteration_size(self) -> str:
        """The data of a meta-iteration, as a product."""

    @property
    def context_size(self) -> int:
        """Params among the network's inputs: as many as is said, or those of the method."""
        return getattr(self, "context", 0) or getattr(self.method, "default_context", 0)

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self, "method")
        check_is_method(self.method)
        counts = ("tasks", "iterations", "log_every", "eval_every", "eval_tasks")
        check_counts(**{name: (getattr(self, name), 1) for name in (*counts, "checkpoint_every", "keep_checkpoints")})
        check_counts(eval_steps=(self.eval_steps, 0), seed=(self.seed, 0))
        if self.seed > LARGEST_SEED:
            raise UserError(f"seed must be at most 2^63 - 1 = {LARGEST_SEED}, got {self.seed}")
        if self.tasks > MOST:  # beyond it their sums would depend on how they are shared among workers
            raise UserError(f"tasks must be at most {MOST:,}, got {self.tasks:,}")
        check_positive(later_lr=self.later_lr, worker_timeout=self.worker_timeout)
        check_workers(self.workers, self.tasks, self.device)
        self.check_learns_such(method_name(self.method))
        self.method.check(self)

    def check_learns_such(self, name: str) -> None:
        """Refuse the name of a method of ours that learns no such tasks.

        Raises:
            UserError: If it does not; lists those that do.
        """
        if ":" not in name and name not in self.methods:
            raise UserError(f"method {name} is for reinforcement learning only; here are {', '.join(self.methods)}")


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
