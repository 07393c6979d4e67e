"""What is typed of the user's own: its modules are imported for that reason, and no other."""

from __future__ import annotations

from collections.abc import Iterable

from metarl.errors import made
from metarl.experiment.base_config import Settings
from metarl.experiment.names import find, import_module
from metarl.experiment.preset_file import is_preset_file
from metarl.methods import Method


def typed_modules(names: Iterable[str], imports: Iterable[str] = ()) -> tuple[str, ...]:
    """Import the modules of what is typed as `module:name`, and those of `--import`; returns their names."""
    found = {name.partition(":")[0] for name in names if ":" in name and not is_preset_file(name)} | {*imports}
    for module in sorted(found):
        import_module(module)
    return tuple(sorted(found))


def typed_method(name: str, config: Settings) -> Method:
    """Return an object of the user's method `module:name`: that of the configuration if it is of the class."""
    kind = find(name)
    if not isinstance(kind, type):
        return kind
    return config.method if type(config.method) is kind else made(kind)


def imports(modules: Iterable[str]) -> str:
    """Return the options by which a further command imports modules."""
    return "".join(f" --import {module}" for module in modules)
