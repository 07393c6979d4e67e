"""From a method's name and flat settings to a configuration."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from metarl.errors import UserError, did_you_mean
from metarl.experiment.config import Config, FewShotConfig
from metarl.learners import LEARNERS, OUTERS, RL2, SUPERVISED, AnyLearner, method_of

AnyConfig = TypeVar("AnyConfig", bound=Config | FewShotConfig)


def with_method(config: AnyConfig, method: str | None, outer: str | None) -> AnyConfig:
    """Return the configuration with another method and outer update, by name; None leaves them.

    A configuration that has the method already keeps its settings; else the inner step size stays,
    and so do the outer update's settings where it stays of its kind. RL² brings `for_lifetimes`.

    Raises:
        UserError: If the method cannot have that outer update.
    """
    learner, suited = config.learner, {}
    if isinstance(config, FewShotConfig) and method not in (None, *SUPERVISED):
        raise UserError(f"method {method} is for reinforcement learning only; here are {', '.join(SUPERVISED)}")
    if method is not None and method != method_of(learner):
        learner = (SUPERVISED if isinstance(config, FewShotConfig) else LEARNERS)[method]
        names = {"inner_lr"} & {f.name for f in dataclasses.fields(config.learner)}
        kept: dict[str, Any] = {name: getattr(config.learner, name) for name in names}
        if type(learner.outer) is type(config.learner.outer):
            kept["outer"] = config.learner.outer
        fields = {f.name for f in dataclasses.fields(learner)}
        learner = dataclasses.replace(learner, **{name: kept[name] for name in kept.keys() & fields})
        suited = for_lifetimes(config, learner) if isinstance(config, Config) and isinstance(learner, RL2) else {}
    if outer is not None and not isinstance(learner.outer, OUTERS[outer]):
        learner = dataclasses.replace(learner, outer=OUTERS[outer]())
    return dataclasses.replace(config, learner=learner, **suited)


def for_lifetimes(config: Config, learner: RL2) -> dict[str, Any]:
    """Return the settings that change where RL² takes the place of the configuration's method.

    Lifetimes, in `episodes`, hold as many episodes as the other method's inner steps and query data together;
    and λ is at most 0.95, or else each action would be credited with the noise of all later episodes.
    """
    played = config.episodes * (config.learner.inner_steps + config.learner.plays_query)
    return {"episodes": max(1, played // learner.lifetime), "gae_lambda": min(config.gae_lambda, 0.95)}


def keep_episodes(config: Config, learner: RL2) -> dict[str, Any]:
    """Return how many lifetimes of another length hold as many episodes as those of the configuration."""
    before = config.learner.lifetime if isinstance(config.learner, RL2) else learner.lifetime
    return {"episodes": max(1, config.episodes * before // learner.lifetime)}


def check_method(method: str | None, learner: AnyLearner) -> None:
    """Refuse settings that turn the method asked for into another one.

    Raises:
        UserError: If they do.
    """
    if method not in (None, method_of(learner)):
        raise UserError(f"the settings contradict the method {method}: together they are {method_of(learner)}")


def configure(env: str, method: str, settings: dict[str, Any]) -> Config:
    """Sort flat settings into the configuration, the method and its outer optimiser.

    Raises:
        UserError: If a setting is unknown or out of range.
    """
    learner = LEARNERS[method]
    chosen = settings.get("outer", learner.outer)
    if not dataclasses.is_dataclass(chosen) or isinstance(chosen, type):
        raise UserError(f"outer takes an outer update such as TRPO(), got {chosen!r}")
    own = {f.name for f in dataclasses.fields(Config)} - {"env", "learner"}
    inner = {f.name for f in dataclasses.fields(learner)}
    outer = {f.name for f in dataclasses.fields(chosen)}
    for name in settings:
        if name not in own | inner | outer:
            raise UserError(f"unknown setting {name!r}{did_you_mean(name, own | inner | outer)}")
    chosen = dataclasses.replace(chosen, **{name: settings[name] for name in settings.keys() & outer})  # type: ignore
    changes = {name: settings[name] for name in settings.keys() & inner} | {"outer": chosen}
    learner = dataclasses.replace(learner, **changes)
    check_method(method, learner)
    suited = for_lifetimes(Config(env=env), learner) if isinstance(learner, RL2) else {}
    return Config(env=env, learner=learner, **(suited | {name: settings[name] for name in settings.keys() & own}))
