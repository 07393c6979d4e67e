"""How the help shows options: the sentences below their fields, and in few words what each takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro
from docstring_parser.attrdoc import AttributeDocstrings

TAKES = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}
"""What an option of a type is shown to take."""


CONFIGURED = type(tyro.conf.arg())
"""The type of what `tyro.conf.arg` returns."""


def with_help(kind: type[Any]) -> type[Any]:
    """Return a dataclass of options like this one, each with its sentence and what it takes."""
    hints, docs = get_type_hints(kind, include_extras=True), documented(kind)
    fields: list[Any] = []
    for field in dataclasses.fields(kind):
        both = {"default": field.default, "default_factory": field.default_factory}
        plain: Any = {name: value for name, value in both.items() if value is not dataclasses.MISSING}
        shown = as_option(hints[field.name], docs.get(field.name, ""), field.default)
        fields.append((field.name, shown, dataclasses.field(**plain)))
    form = dataclasses.make_dataclass(kind.__name__, fields, frozen=True)
    form.__doc__ = kind.__doc__
    return form


def as_option(hint: Any, about: str, default: Any) -> Any:
    """Return an option's type with what the help shows of it; a default that says nothing is left out."""
    extras = getattr(hint, "__metadata__", ())
    arg: Any = next((extra for extra in extras if isinstance(extra, CONFIGURED)), tyro.conf.arg())
    silent = default is None or (isinstance(default, tuple | dict) and not default)
    silent = silent or (default is dataclasses.MISSING and _takes(hint, "").endswith("..."))
    shown = {"help": about, "metavar": arg.metavar or _takes(hint), "help_behavior_hint": "" if silent else None}
    rest = [extra for extra in extras if extra is not arg]
    plain = get_args(hint)[0] if extras else hint
    # a tuple, as the number of what is annotated is not known; every Python takes it so
    return Annotated[(plain, *rest, dataclasses.replace(arg, **shown))]  # pyright: ignore


def _takes(hint: Any, unknown: Any = None) -> Any:
    """Return what an option of a type takes, or something else where tyro knows better."""
    if get_origin(hint) is Annotated:
        return _takes(get_args(hint)[0], unknown)
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if get_origin(hint) is Literal:
        return "{" + ",".join(map(str, kinds)) + "}"
    if get_origin(hint) in (dict, Mapping):
        return "NAME VALUE ..."
    if get_origin(hint) is tuple:
        each = [_takes(kind, "") for kind in kinds if kind is not ...]
        return " ".join(each) + " ..." * (... in kinds)
    if type(None) in get_args(hint):
        return _takes(kinds[0], unknown) if len(kinds) == 1 else unknown
    return TAKES.get(hint, unknown)


def documented(kind: type[Any]) -> dict[str, str]:
    """Return the sentence under each field of a dataclass and its bases, where their source can be read."""
    return {name: text for cls in reversed(kind.__mro__[:-1]) for name, text in _documented_in(cls).items()}


@cache  # to read a source takes 10 ms, and every group of settings asks for that of the same classes
def _documented_in(cls: type[Any]) -> dict[str, str]:
    """Return the sentence under each field that a class itself declares."""
    try:
        found = AttributeDocstrings().get_attr_docs(cls)
    except (TypeError, SyntaxError):  # a class without a file, or whose file has changed
        return {}
    return {name: " ".join(text.split()) for name, (text, _, _) in found.items()}
