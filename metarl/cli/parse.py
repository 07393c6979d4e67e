"""How what is typed becomes options, and a wrong one a clear line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from metarl.cli.helptext import with_help
from metarl.errors import HelpShown, UserError, did_you_mean

LEAST_COLUMNS = 40

REGISTRY = ConstructorRegistry()
"""How we read values that tyro reads otherwise."""

KINDS = {"INT": "a whole number", "FLOAT": "a number", "FLOAT FLOAT": "two numbers", "STR": "a word", "PATH": "a path"}
"""What tyro calls the kinds of values, and what people do."""

PLAIN = {
    r"^(Parsing|Value) error (Error parsing )?": "",
    r"( Argument helptext:| For full helptext).*$": "",
    r"Invalid choice invalid choice": "invalid choice",
    r"invalid literal for int\(\) with base 10: (.+)": r"expected a whole number, got \1",
    r"could not convert string to float: (.+)": r"expected a number, got \1",
    r"Could not find valid parse for arguments: \[(.+)\]": r"cannot read \1",
    r"Missing argument Missing value for argument '(.+)'\. Expected 1 values\.": r"\1 needs a value",
    r"Missing argument Missing value for argument '(.+)'\. Expected (\d+) values\.": r"\1 needs \2 values",
}
"""What tyro says, and what we say instead."""


@REGISTRY.primitive_rule
def _paths(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    """Read a path, which Python takes for this folder where it is empty: a variable of the shell that is not set."""
    if info.type is not Path:
        return None

    def read(typed: list[str]) -> Path:
        if not typed[0]:
            raise ValueError("got an empty path; this folder is .")
        return Path(typed[0])

    return PrimitiveConstructorSpec(1, "PATH", read, lambda value: isinstance(value, Path), lambda value: [str(value)])


def option_names(value: Any) -> list[str]:
    """Return the names of all options, those of groups too."""
    names: list[str] = []
    for f in dataclasses.fields(value):
        inner = None if isinstance(value, type) else getattr(value, f.name)
        names += option_names(inner) if dataclasses.is_dataclass(inner) else [f.name]
    return names


def parse(
    kind: type[Any],
    args: list[str],
    prog: str,
    default: Any = tyro.MISSING,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Parse options into a dataclass; what tyro says in a box becomes one line.

    Args:
        kind: The dataclass.
        args: What was typed.
        prog: Name of the command.
        default: Values of what is not typed.
        elsewhere: Options that other methods have, and what to say of each.
    """
    form = with_help(kind) if default is tyro.MISSING else kind
    flat = Annotated[form, tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands]
    said = io.StringIO()
    extra = {} if default is tyro.MISSING else {"default": default}
    try:
        with contextlib.redirect_stderr(said), _some_columns(), REGISTRY:
            parsed, unknown = tyro.cli(flat, args=args, prog=prog, return_unknown_args=True, **extra)  # type: ignore
    except SystemExit as stop:
        if not stop.code:
            raise HelpShown(0) from stop
        words = " ".join(re.sub(r"[│╭╮╰╯─]|-{3,}", " ", said.getvalue()).split())
        raise UserError(_plainly(words) or "bad arguments") from stop
    if unknown:
        flag = unknown[0]
        if not flag.startswith("-"):
            raise UserError(f"{prog} takes no arguments such as {flag!r}; '{prog} --help' shows what it takes")
        names = [*option_names(default), "method", "outer"] if extra else option_names(kind)
        known = [f"--{name.replace('_', '-')}" for name in names]
        hint = elsewhere.get(flag.split("=")[0]) or did_you_mean(flag.split("=")[0], known)
        raise UserError(f"unknown option {flag!r}{hint}; '{prog} --help' lists all")
    return kind(**vars(parsed)) if default is tyro.MISSING else parsed


def _plainly(words: str) -> str:
    """Return tyro's words in ours."""
    for theirs, ours in PLAIN.items():
        words = re.sub(theirs, ours, words)
    if kinds := re.search(r"no type matching (.+) could be instantiated from \[(.+?)\]\. Got errors.*", words):
        names = [kind.strip("{}") for kind in kinds[1].split("|")]
        expected = " or ".join(KINDS.get(name, name) for name in names)
        return f"{words[: kinds.start()]}expected {expected}, got {kinds[2]}"
    if missing := re.match(r"Required options Missing from (.+?): (.+)", words):
        names = [part.split()[0] for part in missing[2].split("(required)") if part.strip()]
        return f"{missing[1]} needs {' and '.join(names)}; '{missing[1]} --help' says what"
    return words


@contextlib.contextmanager
def _some_columns() -> Iterator[None]:
    """Have help laid out for a terminal of some width: in a single column tyro would never be done."""
    before = os.environ.get("COLUMNS")
    if shutil.get_terminal_size().columns < LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(LEAST_COLUMNS)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = before
