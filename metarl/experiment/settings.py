"""From a preset or an environment, a method and flat settings to a configuration: for Python and the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from metarl.errors import UserError, check_known, did_you_mean
from metarl.experiment.base_config import Settings, check_is_method
from metarl.methods import METHODS, Method, method_name
from metarl.methods.protocols import times_as_many_iterations
from metarl.outer import OUTERS

AnyConfig = TypeVar("AnyConfig", bound=Settings)


def with_method(
    config: AnyConfig, method: str | Method | None, outer: str | None = None, keep: Collection[str] = ()
) -> AnyConfig:
    """Return the configuration with another method and outer update; None leaves them.

    A configuration that has a method of that name already keeps its settings; else the inner step size stays, and so
    do the outer update's settings where it stays of its kind (a memory has one of its own). The method may bring
    settings that suit it.

    Args:
        config: The configuration.
        method: Name of one of our methods, or an object, whose settings are taken as they are.
        outer: Name of an outer update.
        keep: Settings of the run that were asked for, which stay.

    Raises:
        UserError: If a name is unknown, or the method cannot have that outer update.
    """
    chosen, before = config.method, config.method
    if isinstance(method, str) and method != method_name(before):
        chosen = _kept(_named(config, method), before)
    elif method is not None and not isinstance(method, str):
        check_is_method(method)
        chosen = method
    suited = {} if method_name(chosen) == method_name(before) else brought(config, chosen, keep)
    if outer is not None:
        kind = OUTERS[check_known("outer", outer, OUTERS)]
        if not isinstance(chosen.outer, kind):
            chosen = dataclasses.replace(chosen, outer=kind())  # type: ignore[type-var]
    return dataclasses.replace(config, method=chosen, **suited)


def brought(config: Settings, method: Method, keep: Collection[str]) -> dict[str, Any]:
    """Return the settings of the run that suit a method, but those to keep.

    Where the size of a meta-iteration is one of these, the number of iterations is what keeps the run's length.
    """
    suited = {name: value for name, value in method.suited(config).items() if name not in keep}
    if "iterations" in keep:  # what goes by their number stays as well
        return {name: value for name, value in suited.items() if name not in EVERY}
    if "iterations" in suited and not {"tasks", "episodes"}.isdisjoint(keep):
        factor = _episodes_played(config, config.method, {}) / _episodes_played(config, method, suited)
        scaled = times_as_many_iterations(config, factor)
        suited |= {name: value for name, value in scaled.items() if name not in keep}
    return suited


def _episodes_played(config: Settings, method: Method, changed: Mapping[str, Any]) -> int:
    """Return how many episodes, or batches of examples, a meta-iteration of a method has."""
    tasks, episodes = (changed.get(name, getattr(config, name, 1)) for name in ("tasks", "episodes"))
    return tasks * episodes * (method.inner_steps + method.plays_query)


def sized(config: AnyConfig, settings: Mapping[str, Any]) -> AnyConfig:
    """Return the configuration with the tasks and episodes asked for, by which a method finds what suits it."""
    sizes = {name: settings[name] for name in ("tasks", "episodes") if name in settings and hasattr(config, name)}
    return dataclasses.replace(config, **sizes)


EVERY = ("eval_every", "checkpoint_every")
"""Settings that count meta-iterations."""


def say_brought(before: Settings, now: Settings, keep: Collection[str]) -> str:
    """Say which settings of the run another method, or others of its own, have brought along, and what they were."""
    names = [field.name for field in dataclasses.fields(before) if field.name not in ("method", *keep)]
    values = [(name, getattr(before, name), getattr(now, name)) for name in names]
    changed = ", ".join(f"{name} {new} ({old})" for name, old, new in values if old != new)
    method, other = method_name(now.method), method_name(before.method)
    why = f"with {method} instead of {other}" if method != other else f"with these settings of {method}"
    return changed and f"{why}: {changed}"


def _named(config: Settings, name: str) -> Method:
    """Return a method of ours with the settings it has where it learns from such tasks."""
    if name in METHODS:
        config.check_learns_such(name)
    also = "; in Python, give an object of your own" if ":" in name else ""
    return config.methods[check_known("method", name, config.methods, also)]


LIFETIMES = ("lifetime", "ent_coef")
"""What methods with a memory have in common; where one has its default, another has its own."""


def _kept(method: Any, before: Any) -> Any:
    """Return the method with what it shares with another one, and the outer update if both take gradient steps."""
    own, old = field_names(method), field_names(before)
    default = {f.name: f.default for f in dataclasses.fields(before)} if old else {}
    chosen = [name for name in LIFETIMES if name in own & old and getattr(before, name) != default[name]]
    kept = {name: getattr(before, name) for name in ("inner_lr", *chosen) if name in own & old}
    if type(method.outer) is type(before.outer) and not (method.remembers or before.remembers):
        kept["outer"] = before.outer
    return dataclasses.replace(method, **kept)


def with_settings(config: AnyConfig, settings: Mapping[str, Any]) -> AnyConfig:
    """Return the configuration with flat settings, each of which finds its place: run, method or outer update.

    Raises:
        UserError: If a setting is unknown or out of range, or together they make another method.
    """
    method: Any = config.method
    outer: Any = settings.get("outer", method.outer)
    if "outer" in settings and (not dataclasses.is_dataclass(outer) or isinstance(outer, type)):
        raise UserError(f"outer takes an outer update such as TRPO(), got {outer!r}")
    own = {f.name for f in dataclasses.fields(config)} - {"env", "data", "method"}
    inner, outside = field_names(method), field_names(outer)
    known = own | inner | (outside if "outer" in inner else set())
    for name in settings:
        if name not in known:
            said = elsewhere(config, outer).get(name)
            hint = did_you_mean(name, known - fixed(method)) if said is None else f"; {said}"
            raise UserError(f"unknown setting {name!r}{hint}")
    if inner:
        if outside:
            outer = dataclasses.replace(outer, **{name: settings[name] for name in settings.keys() & outside})
        changes = {name: settings[name] for name in settings.keys() & inner}
        if "outer" in inner:
            changes["outer"] = outer
        method = dataclasses.replace(method, **changes)
        check_method(method_name(config.method), method)
    of_run = {name: settings[name] for name in settings.keys() & own}
    suited = brought(dataclasses.replace(config, **of_run), method, settings) if method != config.method else {}
    return dataclasses.replace(config, method=method, **(suited | of_run))


def elsewhere(config: Settings, outer: Any) -> dict[str, str]:
    """Return, for each setting that other methods or outer updates have, which these are, in words."""
    said: dict[str, str] = {}
    update = "outer", OUTERS, type(outer).__name__.lower()
    for kind, known, now in (update, ("method", config.methods, method_name(config.method))):
        owners: dict[str, list[str]] = {}
        for name, thing in known.items():
            for field in field_names(thing):
                owners.setdefault(field, []).append(name)
        for field, names in owners.items():
            said[field] = f"{kind} {', '.join(names)} {'has' if len(names) == 1 else 'have'} it, {now} has not"
    return said


def fixed(method: Any) -> set[str]:
    """Return the names of the settings that a method leaves as they are, and refuses otherwise."""
    return {*getattr(method, "fixed", ())}


def field_names(value: Any) -> set[str]:
    """Return the names of a dataclass's fields; a method of the user's may be no dataclass, and have none."""
    return {f.name for f in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()


def check_method(name: str | None, method: Method) -> None:
    """Refuse settings that turn the method asked for into another one.

    Raises:
        UserError: If they do.
    """
    if name is not None and name != method_name(method):
        raise UserError(f"the settings contradict the method {name}: together they are {method_name(method)}")
