"""What is typed where a command says PRESET."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from metarl.errors import UserError
from metarl.experiment.base_config import Settings
from metarl.experiment.names import find, is_id
from metarl.experiment.preset_file import find_preset, is_preset_file
from metarl.experiment.presets import for_data, for_env
from metarl.fewshot.own_source import is_source


def name_first(command: str, args: list[str]) -> tuple[str, list[str]]:
    """Return what is typed where a command says PRESET, and what follows; for the help, PRESET itself.

    Raises:
        UserError: If nothing is typed there.
    """
    if args and args[0] in ("-h", "--help"):
        return "PRESET", ["--help"]
    if not args or args[0].startswith("-"):
        raise UserError(f"{command} needs a preset or an environment first; 'metarl presets' lists the presets")
    return args[0], args[1:]


def start(name: str, modules: Collection[str] = ()) -> Settings:
    """Return the configuration of a preset or a file, or the defaults for an environment.

    Args:
        name: What was typed.
        modules: Modules that were typed too, where a file may name a method.

    Raises:
        UserError: If there is no such preset.
    """
    if is_preset_file(name):
        return find_preset(name, modules)
    if ":" in name and not is_id(name) and is_source(find(name)):  # its module was typed, and is imported
        return for_data(name)
    return for_env(name) if "/" in name or ":" in name else find_preset(name)


def title(name: str) -> str:
    """Return what its runs are called: the preset, the file's name (a run's folder) or the environment's."""
    if Path(name).name == "config.json":
        return Path(name).absolute().parent.name
    return Path(name).stem if is_preset_file(name) else name.rpartition("/")[2].rpartition(":")[2]
