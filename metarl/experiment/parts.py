"""Objects of the user's that a configuration only names: files record the names, and import nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from metarl.errors import UserError, check_takes
from metarl.experiment.names import find, is_id, name_of
from metarl.fewshot.own_source import TaskSource, made_source
from metarl.rl.advantages import Baseline
from metarl.rl.ids import EnvSource
from metarl.rl.own_policy import PolicyMaker

CALLED_WITH = {
    "policy": ("observation_space", "action_space", "generator"),
    "baseline": ("episodes", "returns"),
    "inner_loss": ("distribution", "episodes"),
}
"""The functions among them, and what each is called with."""


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
    data: TaskSource | None = None
    """What draws labelled tasks and their examples."""

    def source(self, env: str) -> EnvSource:
        """Return what environments are made from, where the configuration says `env`."""
        return env if self.env is None else self.env

    def check(self, named: Mapping[str, str]) -> None:
        """Refuse what cannot be called so, and a configuration that names what is not here: no file makes us import.

        Args:
            named: The configuration's `named_parts`.

        Raises:
            UserError: If it does; says how to give it.
        """
        for name, arguments in CALLED_WITH.items():
            if (part := getattr(self, name)) is not None and not callable(part):
                raise UserError(f"{name} takes one of our names or a function, got {part!r}")
            if part is not None:
                check_takes(name, part, *arguments)
        for name, recorded in named.items():
            if getattr(self, name) is None:
                raise UserError(missing(name, recorded))

    def completed(self, others: Parts) -> Parts:
        """Return these objects, and those of the others where there is none here."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return Parts(**{name: getattr(others, name) if part is None else part for name, part in mine.items()})


def missing(setting: str, recorded: str) -> str:
    """Say that an object has to be given again, and how."""
    module = recorded.partition(":")[0]
    typed = "" if module == "__main__" else f" (or modules=[{module!r}]) or --import {module} on the command line"
    return (
        f"this run has the {setting} {recorded}, and nothing is imported because a file says so: "
        f"give it again, by {setting}=... in Python{typed}"
    )


def typed_parts(named: Mapping[str, str], modules: Collection[str], given: Parts | None = None) -> Parts:
    """Return the objects that a configuration names, of those modules that the user typed.

    Args:
        named: The configuration's `named_parts`.
        modules: Names of the modules.
        given: Objects that are here already, which are not looked for.

    Raises:
        UserError: If another module would be needed.
    """
    given, parts = Parts() if given is None else given, {}
    for name, recorded in named.items():
        if getattr(given, name) is not None:
            continue
        module = recorded.partition(":")[0]
        if module not in modules:
            raise UserError(missing(name, recorded))
        # an id of Gymnasium's, module:Id-v0, is found by Gymnasium once the module is imported
        found = recorded if name == "env" and is_id(recorded) else find(recorded)
        parts[name] = made_source(found) if name == "data" else found
    return given.completed(Parts(**parts))


def named_method(name: str, modules: Collection[str]) -> Any:
    """Return the user's method `module:name`, in a module that the user typed.

    Raises:
        UserError: If its module would be imported only because a file names it.
    """
    if name.partition(":")[0] in modules:
        return find(name)
    raise UserError(missing("method", name))


def recorded_method(config: Any, modules: Collection[str], given: Any = None) -> Any:
    """Return the method's class, which a recorded configuration only names; None where it is one of ours.

    Raises:
        UserError: If it is not given, nor in a module that the user typed.
    """
    recorded = config.get("method") if isinstance(config, Mapping) else None
    name = str(recorded.get("name", "")) if isinstance(recorded, Mapping) else ""
    return given if given is not None or ":" not in name else named_method(name, modules)


def named(setting: str, value: Any) -> tuple[str, Any]:
    """Return a setting's name for the configuration, and the object where it is one of the user's.

    Raises:
        UserError: If it is the name of an object of the user's: Python takes the object.
    """
    if not isinstance(value, str):
        return name_of(value), value
    module, colon, name = value.partition(":")
    if colon:
        raise UserError(
            f"{setting}={value!r} is how the command line names it; in Python, give the object: "
            f"from {module} import {name}, then {setting}={name}"
        )
    return value, None
