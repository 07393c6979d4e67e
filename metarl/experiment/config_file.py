"""Configurations as JSON: what `config.json` and checkpoints record, and what may differ when a run is resumed."""

from __future__ import annotations

import dataclasses
from typing import Any

from metarl.errors import UserError, check_known, did_you_mean, made
from metarl.experiment.base_config import Settings
from metarl.experiment.config import Config
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.experiment.names import name_of
from metarl.methods import METHODS, Method, method_name
from metarl.outer import OUTERS


def as_dict(config: Settings) -> dict[str, Any]:
    """Return a configuration as JSON takes it, with the names of the method and its outer update."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    outer = config.method.outer
    name = next((name for name, kind in OUTERS.items() if type(outer) is kind), name_of(outer))
    method = {"name": method_name(config.method), **_fields(config.method), "outer": {"name": name, **_fields(outer)}}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()} | {
        "method": method
    }


def from_dict(values: dict[str, Any], method: Any = None) -> Settings:
    """Return the configuration that `as_dict` gave, or that of an older version.

    Args:
        values: What `as_dict` gave.
        method: The method's class, or an object of it, where it is not one of ours.

    Raises:
        UserError: If a field, the method or its outer update is unknown, or a value is of the wrong kind.
    """
    try:
        values = _renamed(values)
        recorded = dict(values["method"])
        outer = dict(recorded.pop("outer"))
        if recorded.get("name") is None or outer.get("name") is None:
            raise UserError("no method is named: a version before 0.1 began this run, which this one cannot read")
        kind = FewShotConfig if "data" in values else Config
        built = _method(recorded.pop("name"), recorded, outer, method)
        return _build(kind, {**values, "method": built, "hidden": tuple(values["hidden"])})
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"no settings of a run ({error!r})") from error


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Return a recorded configuration under the names of this version, and what was not a setting yet as it was."""
    values = dict(values)
    if "learner" in values:  # up to version 0.1
        old = dict(values.pop("learner"))
        values["method"] = {"name": old.pop("method", None), **old}
    method = values.get("method")
    if isinstance(method, dict) and method.get("name") == "rl2":  # it had no critic
        values["method"] = {"vf_coef": 0.0, **method}
    return values


def unrecorded(values: dict[str, Any], config: Settings) -> list[str]:
    """Return the settings that a recorded configuration does not hold, as `name=value` of what they are now."""
    before, now = flat(_renamed(values)), flat(as_dict(config))
    return [f"{name}={now[name]!r}" for name in now if name not in before]


def _method(name: str, settings: dict[str, Any], outer: dict[str, Any], given: Any) -> Method:
    """Return the method of a file: of a class of ours, or of that which was given."""
    if ":" in name and given is None:
        raise UserError(f"the method {name} is not one of ours, and nothing is imported from a file; give it")
    if ":" in name:
        kind: Any = given if isinstance(given, type) else type(given)
        if kind.__qualname__ != name.partition(":")[2]:
            raise UserError(f"the method is {name}, not {name_of(kind)}")
        if not hasattr(kind, "__dataclass_fields__"):  # is_dataclass would narrow the type
            return made(given)
    else:
        kind = type(METHODS[check_known("method", name, METHODS)])
    if "outer" not in {f.name for f in dataclasses.fields(kind)}:
        return _build(kind, settings)
    outer_name = outer.pop("name")
    if ":" in outer_name:
        outer_kind = type(made(given).outer)
    else:
        outer_kind = OUTERS[check_known("outer update", outer_name, OUTERS)]
    return _build(kind, {**settings, "outer": _build(outer_kind, outer)})


def _fields(value: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value):
        return {}
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name != "outer"}


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    known = [f.name for f in dataclasses.fields(kind)]
    for name in values:
        if name not in known:
            raise UserError(f"unknown setting {name!r} of {kind.__name__}{did_you_mean(name, known)}")
    return kind(**values)


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
    before, after = (flat(as_dict(c)) | {"context": c.context_size} for c in (old, new))  # 0 may mean the method's own
    return changes(*({n: v for n, v in values.items() if n not in FREE} for values in (before, after)))


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return in what two dictionaries differ, as `name: old -> new`; what one lacks is None there."""
    names = sorted(old.keys() | new.keys())
    return [f"{n}: {old.get(n)!r} -> {new.get(n)!r}" for n in names if old.get(n) != new.get(n)]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings side by side, as `outer.name`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
