"""From a configuration to the inner loop of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import Any, cast

import torch

from metarl.errors import UserError
from metarl.experiment.config import Config, FewShotConfig
from metarl.experiment.memory import check_memory
from metarl.experiment.names import find, name_of
from metarl.fewshot.folders import read_folder
from metarl.fewshot.glyphs import glyphs
from metarl.fewshot.images import SIDE, Classes
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.networks import MLP, ConvNet
from metarl.fewshot.sinusoid import Sinusoids
from metarl.methods import InnerLoop, VariBAD, method_name
from metarl.rl.advantages import BASELINES, Baseline, picture_baseline
from metarl.rl.belief import BeliefGradient, BeliefPolicy
from metarl.rl.environments import EnvSource, make_vec, register
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.rl.lifetimes import LifetimeGradient
from metarl.rl.losses import InnerLoss, PolicyGradient
from metarl.rl.memory_loop import MemoryInnerLoop
from metarl.rl.own_policy import PolicyMaker, is_picture, make_own_policy, make_picture_policy
from metarl.rl.policies import make_policy
from metarl.rl.recurrent import RecurrentPolicy
from metarl.rl.sampler import Sampler


@dataclass(frozen=True)
class Parts:
    """Objects of the user's, which a configuration only names."""

    env: EnvSource | None = None
    """What to make environments from, if not the id in the configuration: a function that returns one."""
    policy: PolicyMaker | None = None
    """What makes the policy network."""
    baseline: Baseline | None = None
    """What fits values to returns."""
    inner_loss: Callable[..., Any] | None = None
    """The inner loss."""

    def source(self, config: Config | FewShotConfig) -> EnvSource:
        """Return what environments are made from."""
        return config.title if self.env is None else self.env

    def check(self, config: Config | FewShotConfig) -> None:
        """Refuse a configuration that names what is not here: nothing is imported because a file says so.

        Raises:
            UserError: If it does; says how to give it.
        """
        for name, recorded in recorded_names(config).items():
            if name != "method" and getattr(self, name) is None:
                raise UserError(missing(name, recorded))


def recorded_names(config: Config | FewShotConfig) -> dict[str, str]:
    """Return the objects of the user's that a configuration names as `module:name`, by setting."""
    if isinstance(config, FewShotConfig):
        return {}
    named = {f.name: getattr(config, f.name) for f in fields(Parts)}
    return {name: value for name, value in named.items() if ":" in value}


def own_modules(config: Config | FewShotConfig) -> list[str]:
    """Return the modules of the user's that hold what a configuration names, its method too."""
    names = [*recorded_names(config).values(), method_name(config.method)]
    return sorted({name.partition(":")[0] for name in names if ":" in name})


def missing(setting: str, recorded: str) -> str:
    """Say that an object has to be given again, and how."""
    module = recorded.partition(":")[0]
    return (
        f"this run has the {setting} {recorded}, and nothing is imported because a file says so: "
        f"give it again, by {setting}=... in Python or --import {module} on the command line"
    )


def typed_parts(config: Config | FewShotConfig, modules: Collection[str], given: Collection[str] = ()) -> Parts:
    """Return the objects that a configuration names, of those modules that the user typed.

    Args:
        config: The configuration.
        modules: Names of the modules.
        given: Settings whose objects are here already.

    Raises:
        UserError: If another module would be needed.
    """
    parts: dict[str, Any] = {}
    for name, recorded in recorded_names(config).items():
        if name in given:
            continue
        module = recorded.partition(":")[0]
        if module not in modules:
            raise UserError(missing(name, recorded))
        # an id of Gymnasium's, module:Id-v0, is found by Gymnasium once the module is imported
        parts[name] = recorded if name == "env" and _is_id(recorded) else find(recorded)
    return Parts(**parts)


def _is_id(name: str) -> bool:
    return name.rpartition("-v")[2].isdecimal()


def named(value: Any) -> tuple[str, Any]:
    """Return a setting's name for the configuration, and the object where it is one of the user's."""
    return (value, None) if isinstance(value, str) else (name_of(value), value)


def check_device(device: str) -> None:
    """Refuse a device that cannot be used.

    Raises:
        UserError: If it cannot.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


@dataclass(frozen=True)
class InnerLoopMaker:
    """Builds inner loops under one configuration, in this process or, pickled, in another one."""

    config: Config | FewShotConfig
    parts: Parts
    registration: Any = None
    """What this process knows of the environment's id, which another one may not have heard of."""

    def __call__(self, held_out: bool = False, tasks: int | None = None, episodes: int | None = None) -> InnerLoop:
        """Build the inner loop of training or of held-out tasks; by default as many as the configuration says."""
        c = self.config
        if isinstance(c, FewShotConfig):
            return build_shot_loop(c, tasks, held_out)
        register(self.registration)
        usual = (c.eval_tasks, c.eval_episodes) if held_out else (c.tasks, c.episodes)
        return build_inner_loop(c, self.parts, tasks or usual[0], episodes or usual[1])


def build_inner_loop(config: Config, parts: Parts, tasks: int, episodes: int) -> PolicyInnerLoop:
    """Build the inner loop of `tasks` tasks with `episodes` episodes each under this configuration.

    Args:
        config: The run's configuration.
        parts: Objects that it names.
        tasks: Number of tasks.
        episodes: Episodes in each of them.

    Raises:
        UserError: If the environment, the policy or the device cannot be used, or memory would not suffice.
    """
    check_device(config.device)
    parts.check(config)
    check_memory(config, tasks, episodes, own_policy=parts.policy is not None)
    options = cast(dict[str, Any], config.env_options)
    rows = tasks * episodes
    env = make_vec(parts.source(config), rows, horizon=config.horizon, vectorization=config.vectorization, **options)
    horizon = getattr(env, "max_episode_steps", None)
    if horizon is None:
        raise UserError(f"environment {config.env!r} has no time limit; give a horizon")
    rules = (config.init_std, config.action_scale)
    spaces = (env.single_observation_space, env.single_action_space)
    rest: tuple[Any, ...] = (config.method, config.discount, config.gae_lambda, config.device)
    rest = (*rest, _baseline(config, parts, spaces[0]), config.later_lr)
    if config.method.remembers:
        if is_picture(spaces[0]):
            raise UserError(f"{method_name(config.method)} takes no pictures, got observations {spaces[0]}")
        if not config.hidden:
            raise UserError(f"{method_name(config.method)} needs a memory; give hidden at least one width")
        losses = _with_memory(config, spaces, rules)
        return MemoryInnerLoop(Sampler(env, losses.policy, tasks, episodes, horizon), losses, *rest)
    policy = _policy(config, parts, *spaces)
    # the device's copy shares the CPU policy's architecture only: params always come as arguments
    sampler = Sampler(env, policy, tasks, episodes, horizon)
    inner_loss: InnerLoss = config.inner_loss if parts.inner_loss is None else parts.inner_loss
    return PolicyInnerLoop(sampler, PolicyGradient(policy, inner_loss), *rest)


def _with_memory(config: Config, spaces: tuple[Any, Any], rules: tuple[float, float]) -> LifetimeGradient:
    """Return the losses of a policy with a memory, and in them the policy."""
    method: Any = config.method
    usual = (*spaces, config.hidden, config.seed, *rules)
    if isinstance(method, VariBAD):
        believing = BeliefPolicy(*usual, method.latent, method.decoder)
        return BeliefGradient(believing, points=method.elbo_points, kl_coef=method.kl_coef)
    embedding, critic = getattr(method, "embedding", 0), getattr(method, "vf_coef", 0.0) > 0
    return LifetimeGradient(RecurrentPolicy(*usual, embedding, critic))


def _policy(config: Config, parts: Parts, observations: Any, actions: Any) -> Any:
    if parts.policy is not None:
        return make_own_policy(parts.policy, observations, actions, config.seed, config.action_scale)
    usual = (observations, actions, config.hidden, config.seed, config.init_std, config.action_scale)
    if is_picture(observations):
        return make_picture_policy(*usual, config.activation)
    return make_policy(*usual, config.activation, config.layer_norm, config.last_layer_std)


def _baseline(config: Config, parts: Parts, observations: Any) -> Baseline:
    if parts.baseline is not None:
        return parts.baseline
    if is_picture(observations) and config.baseline == "linear":
        return picture_baseline(observations.shape)
    return BASELINES[config.baseline]


def build_shot_loop(config: FewShotConfig, tasks: int | None = None, held_out: bool = False) -> ShotInnerLoop:
    """Build the inner loop of supervised tasks under this configuration.

    Args:
        config: The run's configuration.
        tasks: Number of tasks; by default those of training or of an evaluation.
        held_out: Whether to evaluate: on `eval_queries`, and with the same examples in every inner step.

    Raises:
        UserError: If the device cannot be used, memory would not suffice, or there are too few pictures.
    """
    check_device(config.device)
    number = tasks or (config.eval_tasks if held_out else config.tasks)
    queries = config.eval_queries if held_out else config.queries
    check_memory(config, number, queries)
    source, losses = (_classification if config.pictures else _regression)(config, queries, held_out)
    # Reptile's steps see new examples each, the others the same few (Nichol et al. 2018, section 3)
    fresh = not (config.method.plays_query or held_out)
    return ShotInnerLoop(source, losses, config.method, number, fresh, config.device, config.later_lr)


def _regression(config: FewShotConfig, queries: int, held_out: bool) -> tuple[Sinusoids, Regression]:
    source = Sinusoids(config.shots, queries, config.oracle)
    return source, Regression(MLP((source.inputs,), config.hidden, 1, config.seed))


def _classification(config: FewShotConfig, queries: int, held_out: bool) -> tuple[Classes, Classification]:
    if config.data != "glyphs" and not config.folder:
        raise UserError(f"data {config.data} need --folder, where their pictures lie")
    pictures = glyphs(held_out) if config.data == "glyphs" else read_folder(config.folder, held_out)
    rotations = config.data == "omniglot" and not held_out
    try:
        source = Classes(pictures, config.ways, config.shots, queries, rotations)
    except UserError as error:
        raise UserError(f"held-out classes: {error}" if held_out else str(error)) from error
    if config.network == "conv":
        return source, Classification(ConvNet(config.filters, config.ways, config.seed))
    return source, Classification(MLP((1, SIDE, SIDE), config.hidden, config.ways, config.seed))
