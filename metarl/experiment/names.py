"""Objects by name, `module:name`: files record the names, and only those that the user types are imported."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from metarl.errors import UserError, did_you_mean, needs


def name_of(thing: Any) -> str:
    """Return the name of a class, a function or an object's class, as `module:name`."""
    maker = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{maker.__module__}:{maker.__qualname__}"


def import_module(module: str) -> Any:
    """Import a module that the user named, from the current folder too, as `python -m` does.

    Raises:
        UserError: If there is none, or it fails.
    """
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module)
    except (TypeError, ValueError) as error:
        if module and not module.startswith("."):  # it is the module itself that fails
            raise
        raise UserError(f"{module!r} is no module's name; module:name takes one as Python's import does") from error
    except ModuleNotFoundError as error:
        if module.endswith(".py"):
            raise UserError(f"{module!r} is a file; its module is called {module.removesuffix('.py')!r}") from error
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise UserError(needs(f"module {module!r}", error)) from error
        raise UserError(f"there is no module {module!r}, in {folder} or installed") from error


def find(name: str) -> Any:
    """Return what the user means by `module:name`.

    Raises:
        UserError: If there is no such module, or it has nothing of that name; names the nearest.
    """
    module, _, inner = name.partition(":")
    found = import_module(module)
    for part in inner.split("."):
        if not hasattr(found, part) or inspect.ismodule(getattr(found, part)):  # other modules were not typed
            raise UserError(f"{module!r} has no {inner!r}{did_you_mean(inner, dir(found))}")
        found = getattr(found, part)
    return found


def is_id(name: str) -> bool:
    """Return whether this is an id of Gymnasium's, `module:Id-v0`, instead of an object's name."""
    return name.rpartition("-v")[2].isdecimal()
