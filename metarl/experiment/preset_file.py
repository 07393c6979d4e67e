"""Presets of one's own: a TOML or JSON file of settings, taken wherever the name of a preset is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from metarl.errors import UserError, made
from metarl.experiment.base_config import Settings
from metarl.experiment.config_file import from_dict
from metarl.experiment.names import is_id
from metarl.experiment.parts import named_method, recorded_method
from metarl.experiment.presets import find_preset as find_ours
from metarl.experiment.presets import for_data, for_env
from metarl.experiment.settings import sized, with_method, with_settings

START = ("preset", "env", "data")
"""What the settings of a file may change: a preset, or the defaults for an environment or for supervised data."""

SEARCHED = "searched"
"""What `metarl tune` notes in a file: the settings that it has searched, and where; it is no setting."""


def is_preset_file(name: str | Path) -> bool:
    """Return whether a preset's name is that of a file."""
    return str(name).endswith((".toml", ".json"))


def find_preset(name: str | Path, modules: Collection[str] = ()) -> Settings:
    """Return the configuration of a preset: one of ours by its name or an environment's id, or that of a file.

    Args:
        name: The preset's name, the id, or the file.
        modules: Modules that may be imported to find a method that the file names.

    Raises:
        UserError: If there is none, or a setting of the file is unknown or out of range.
    """
    if is_preset_file(name):
        return read_preset(Path(name), modules)
    name = str(name)
    return for_env(name) if is_id(name) and ":" not in name else find_ours(name)


def stated(name: str | Path) -> set[str]:
    """Return the names of the settings that a file of them states; of a preset or a run's `config.json` none."""
    values = _read(Path(name)) if is_preset_file(name) else {"config": None}
    return set() if "config" in values else set(values) - {*START, SEARCHED}


def read_preset(file: Path, modules: Collection[str] = ()) -> Settings:
    """Read a file of settings, or a run's `config.json`.

    A file names a `preset`, an `env` or `data` to begin with, may name a `method` and an `outer` update, and gives
    settings of the run, the method and the update side by side; `env_options` is a table.

    Raises:
        UserError: If it cannot be read, or a setting is unknown or out of range.
    """
    values = _read(file)
    try:
        if "config" not in values:
            return from_settings(values, modules)
        return from_dict(values["config"], recorded_method(values["config"], modules))
    except UserError as error:
        raise UserError(f"preset {str(file)!r}: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    """Return the table of settings in a file.

    Raises:
        UserError: If there is none.
    """
    try:
        values = (tomllib.loads if file.suffix == ".toml" else json.loads)(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read preset {str(file)!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"preset {str(file)!r} is no {file.suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"preset {str(file)!r} holds no table of settings")
    return values


def from_settings(values: dict[str, Any], modules: Collection[str] = ()) -> Settings:
    """Return the configuration of flat settings, which `preset`, `env` or `data` begin.

    Args:
        values: The settings.
        modules: Modules that may be imported to find a method of the user's.

    Raises:
        UserError: If a setting is unknown or out of range, or they begin with none of the three or several.
    """
    begun = [name for name in START if name in values]
    if len(begun) != 1:
        raise UserError(f"settings begin with one of {', '.join(START)}, got {' and '.join(begun) or 'none of them'}")
    config = _start(begun[0], values[begun[0]])
    chosen = {name: values.get(name) for name in ("method", "outer")}
    for name, value in chosen.items():
        if value is not None and not isinstance(value, str):
            raise UserError(f"{name} must be a name, got {value!r}")
    method = chosen["method"]
    own = made(named_method(method, modules)) if method is not None and ":" in method else method
    config = with_method(sized(config, values), own, chosen["outer"], values)
    settings = {name: value for name, value in values.items() if name not in (*START, *chosen, SEARCHED)}
    return with_settings(config, {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()})


def _start(kind: str, name: Any) -> Settings:
    if not isinstance(name, str):
        raise UserError(f"{kind} must be a name, got {name!r}")
    return {"preset": find_ours, "env": for_env, "data": for_data}[kind](name)
