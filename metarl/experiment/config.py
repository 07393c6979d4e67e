"""The configuration of a run in an environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from gymnasium.spaces import Discrete

from metarl.errors import UserError, check_counts, check_known, check_positive, warn
from metarl.experiment.base_config import Settings
from metarl.experiment.build import build_inner_loop
from metarl.experiment.parts import Parts
from metarl.methods import METHODS, Method, method_name
from metarl.rl.advantages import BASELINES
from metarl.rl.environments import TaskVector, Vectorization, has_physics
from metarl.rl.ids import longest_episode, registration
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.rl.losses import INNER_LOSSES
from metarl.rl.policies import Activation

SAMPLERS = {
    *("source", "num_envs", "horizon", "vectorization", "processes", "autoreset_mode", "max_episode_steps"),
    *("id", "name", "make", "self", "wrappers", "vector_kwargs", "vectorization_mode", "additional_wrappers"),
}
"""Options that are the sampler's or Gymnasium's own."""

OWN = " or module:name (in Python, the object)"
"""What else than the names of ours a setting takes."""

A_STEP = 6
"""Numbers kept of a time step at least: observation, action, reward, mask, log-probability, advantage."""


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
    """Width of each hidden layer of the built-in policy; of RL² and VariBAD the first is the memory's."""
    activation: Activation = "tanh"
    """What follows each hidden layer of the built-in policy."""
    layer_norm: bool = False
    """Normalise each hidden layer of the built-in policy before its activation."""
    last_layer_std: float | None = None
    """Standard deviation of the last layer's initial weights in the built-in policy; by default Xavier-uniform."""
    context: int = 0
    """Further inputs of the built-in policy that are params, the same in all states; 0 has none, with CAVIA 16."""
    reward_coef: float = 0.0
    """Weight, in the inner loss of the step trained with, of half the squared difference between a task's mean reward
    and what the context tells of it."""
    init_std: float = 1.0
    """Standard deviation of the policy's actions to begin with, in its own units."""
    action_scale: float = 1.0
    """The environment's actions are this times the policy's."""
    eval_episodes: int = 20
    """Episodes an evaluation plays per task and step."""
    film: bool = False
    """Show a task before and after adaptation as a small film in TensorBoard, at every evaluation."""
    vectorization: Vectorization = "sync"
    """For environments without a vector environment of their own: step them in this process, or in several."""
    processes: int | None = None
    """How many processes vectorization async has, each with some of the environments; by default one for each CPU."""

    plays_episodes: ClassVar[bool] = True

    @property
    def source(self) -> str:
        """The environment."""
        return self.env

    @property
    def methods(self) -> dict[str, Method]:
        """All methods."""
        return METHODS

    @property
    def named_parts(self) -> dict[str, str]:
        """Objects of the user's that this names as `module:name`, by setting."""
        named = {name: getattr(self, name) for name in ("env", "policy", "baseline", "inner_loss")}
        return {name: value for name, value in named.items() if ":" in value}

    def build(
        self, parts: Parts, held_out: bool = False, tasks: int | None = None, episodes: int | None = None
    ) -> PolicyInnerLoop:
        """Build the inner loop of policies."""
        tasks = tasks or (self.eval_tasks if held_out else self.tasks)
        return build_inner_loop(self, parts, tasks, episodes or self.judging(held_out))

    def check_held_out(self, parts: Parts) -> None:
        """Refuse nothing: an environment says what is wrong with it as soon as it is made."""

    def registration(self, parts: Parts) -> list[Any]:
        """Return what Gymnasium knows of the environment's id, or of those that a function may make."""
        return registration(parts.source(self.env))

    @property
    def vectorised(self) -> dict[str, Any]:
        """What `make_vec` takes beside the environment and the number of rows."""
        ours = {"horizon": self.horizon, "vectorization": self.vectorization, "processes": self.processes}
        return {**self.env_options, **ours}

    @property
    def longest_episode(self) -> int | None:
        """The longest episode in steps; None where only the environment itself, one of the user's, knows."""
        return self.horizon or longest_episode(self.env)

    @property
    def batched(self) -> bool:
        """Whether the environment is one of ours with physics."""
        return has_physics(self.env)

    def judging(self, held_out: bool) -> int:
        """Return the episodes of a task."""
        return self.eval_episodes if held_out else self.episodes

    @property
    def least_params(self) -> int:
        """How many params the policy has at least."""
        return perceptron(1, self.hidden) + self.context_size * sum(self.hidden[:1])

    def least_data(self, judging: int) -> int:
        """Return how many numbers a task's episodes are at least."""
        return judging * (self.horizon or 1) * A_STEP

    def sizes(self, tasks: int, judging: int) -> str:
        """Return in words what decides how much memory so many tasks take."""
        horizon = f", horizon={self.horizon}" * (self.horizon is not None)
        context = f", context={self.context_size}" * (self.context_size > 0)
        return f"tasks={tasks}, episodes={judging}{horizon}{context} and hidden={self.hidden}"

    @property
    def iteration_size(self) -> str:
        """Tasks x episodes x steps, or with a memory tasks x lifetimes x episodes x steps."""
        lifetime = f" x {getattr(self.method, 'lifetime', 1)}" * self.method.remembers
        return f"{self.tasks} x {self.episodes}{lifetime} x {self.longest_episode}"

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        horizon = 1 if self.horizon is None else self.horizon
        check_counts(episodes=(self.episodes, 1), eval_episodes=(self.eval_episodes, 1), horizon=(horizon, 1))
        check_counts(context=(self.context, 0))
        if not 0 <= self.reward_coef < float("inf"):
            raise UserError(f"reward_coef must be 0 or more and finite, got {self.reward_coef}")
        if self.reward_coef:
            self._check_rewards_are_heard()
        if self.processes is not None:
            check_counts(processes=(self.processes, 1))
        check_positive(init_std=self.init_std, action_scale=self.action_scale)
        if self.last_layer_std is not None:
            check_positive(last_layer_std=self.last_layer_std)
        for what, known in (("inner_loss", INNER_LOSSES), ("baseline", BASELINES), ("policy", ("built-in",))):
            if ":" not in (name := getattr(self, what)):
                check_known(what.replace("_", " "), name, known, OWN)
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
        check_widths(self.hidden)

    def check_heeded(self) -> None:
        """Refuse settings of a new run that nothing would heed: an own policy may well have widths like the preset's.

        Raises:
            UserError: If there are such; names them all.
        """
        ours = {"context": 0, "reward_coef": 0.0, "activation": "tanh", "layer_norm": False, "last_layer_std": None}
        ours["init_std"] = 1.0
        unheard = [name for name, without in ours.items() if getattr(self, name) != without]
        if self.policy != "built-in" and unheard:
            shown = ", ".join(f"{name}={getattr(self, name)}" for name in unheard)
            instead = ", ".join(f"{name} {ours[name]}" for name in unheard)
            raise UserError(f"{shown}: for the built-in policy only, got {self.policy}; give {instead}")
        if self.processes is not None and self.vectorization != "async":
            what = f"processes={self.processes} is for vectorization async, got {self.vectorization}"
            raise UserError(f"{what}; give vectorization async, or processes None")
        method: Any = self.method
        if method.remembers and getattr(method, "vf_coef", 0.0) and self.baseline != "linear":
            raise UserError(
                f"the memory has a critic: baseline must stay linear unless vf_coef is 0, got {self.baseline}"
            )

    def warn_of_unheard(self, inner_loop: PolicyInnerLoop) -> None:
        """Warn of `action_scale` and `init_std` where actions are discrete, and of processes that nothing needs."""
        env = inner_loop.sampler.env
        names = [name for name in ("action_scale", "init_std") if getattr(self, name) != 1.0]
        if names and isinstance(env.single_action_space, Discrete):
            unheard = ", ".join(f"{name}={getattr(self, name)}" for name in names)
            warn(f"without effect, as actions are {env.single_action_space}, not a Box: {unheard}")
        if self.vectorization == "async" and not isinstance(env, TaskVector):
            warn(f"without effect, as {self.env} has a vector environment of its own: vectorization=async")

    def _check_rewards_are_heard(self) -> None:
        what = f"reward_coef={self.reward_coef}"
        if self.policy != "built-in":
            self.check_heeded()
        if not getattr(self.method, "hears_rewards", False):
            name = method_name(self.method)
            raise UserError(
                f"{what} is for a single inner step of second order that moves the context, {name} has none; "
                "give reward_coef 0"
            )
        if not self.context_size:
            raise UserError(f"{what} needs a context; give context at least 1, or reward_coef 0")


def check_widths(hidden: tuple[int, ...]) -> None:
    """Refuse widths of hidden layers that are none."""
    if any(isinstance(width, bool) or not isinstance(width, int) for width in hidden):
        raise UserError(f"hidden must be whole numbers such as (64, 64), got {hidden}")
    if any(width < 1 for width in hidden):
        raise UserError(f"hidden widths must be at least 1, got {hidden}")


def perceptron(inputs: int, hidden: tuple[int, ...]) -> int:
    """Return how many params a perceptron with a single output has."""
    return sum(before * width + width for before, width in pairwise((inputs, *hidden))) + sum(hidden[-1:])
