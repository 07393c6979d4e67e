"""The parts of the site that follow from the code: settings, environments, the help of every command."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import os
import textwrap
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarl.cli.main import COMMANDS, main
from metarl.experiment.config import Config, Settings
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.methods import EMAML, MAML, RL2, ProMP, Reptile, VariBAD
from metarl.outer import PPO, TRPO, Adam, Interpolation
from metarl.rl.ids import catalogue

GROUPS: dict[str, list[type[Any]]] = {
    "Every run": [Settings],
    "Runs in environments": [Config],
    "Few-shot runs": [FewShotConfig],
    "Methods": [MAML, Reptile, ProMP, EMAML, RL2, VariBAD],
    "Outer updates": [TRPO, PPO, Adam, Interpolation],
}
"""The dataclasses that hold settings. FOMAML, ANIL, CAVIA, Meta-SGD and PPO-MAML have those of MAML."""


def write(folder: Path) -> None:
    """Write every generated part; a file that is already right stays untouched."""
    parts = {"settings.md": settings(), "environments.md": environments(folder.parent / "pictures")}
    parts |= {f"help-{name}.txt": output([name, "--help"]) for name in COMMANDS if name not in ("presets", "envs")}
    parts |= {"help.txt": output(["--help"]), "presets.txt": output(["presets"]), "envs.txt": output(["envs"])}
    folder.mkdir(exist_ok=True)
    for name, text in parts.items():
        file = folder / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def settings() -> str:
    """Return the tables of all settings, each with its type, default and sentence."""
    lines = []
    for title, kinds in GROUPS.items():
        lines += [f"## {title}", ""]
        for kind in kinds:
            if len(kinds) > 1:
                lines += [f"### {kind.__name__}", "", (inspect.getdoc(kind) or "").splitlines()[0], ""]
            lines += ["| setting | type | default | |", "|---|---|---|---|"]
            hints = typing.get_type_hints(kind)
            lines += [_row(field, hints[field.name], text) for field, text in _described(kind)]
            lines += [""]
    return "\n".join(lines)


def _described(kind: type[Any]) -> list[tuple[dataclasses.Field[Any], str]]:
    """Return the fields that a dataclass declares itself, with the text under each."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    texts = {
        declared.target.id: inspect.cleandoc(said.value.value)
        for declared, said in itertools.pairwise(body)
        if isinstance(declared, ast.AnnAssign) and isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant)
    }
    return [(field, texts[field.name]) for field in dataclasses.fields(kind) if field.name in texts]


def _row(field: dataclasses.Field[Any], hint: Any, text: str) -> str:
    if field.default is not dataclasses.MISSING:
        default = repr(field.default)
    elif field.default_factory is not dataclasses.MISSING:
        default = _changed(field.default_factory())
    else:
        default = ""
    kind = _kind(hint).replace("|", "\\|")
    shown = f"`{default}`" if default else "must be given"
    return f"| `{field.name}` | `{kind}` | {shown} | {' '.join(text.split())} |"


def _changed(value: Any) -> str:
    """Return a default as it is written: of an object, the settings that differ from its class's own defaults."""
    if not dataclasses.is_dataclass(value):
        return repr(value)
    plain = type(value)()
    names = [f.name for f in dataclasses.fields(value) if getattr(value, f.name) != getattr(plain, f.name)]
    return f"{type(value).__name__}({', '.join(f'{name}={getattr(value, name)!r}' for name in names)})"


def _kind(hint: Any) -> str:
    """Return a type as a reader would write it: the values of a literal, the names of classes."""
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(repr, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " | ".join(map(_kind, typing.get_args(hint)))
    if hint is type(None):
        return "None"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def environments(pictures: Path) -> str:
    """Return a section for each environment: its film, what it is, and its options."""
    lines = []
    for entry in catalogue():
        name = entry.env_id.split("/")[1].removesuffix("-v0")
        film = pictures / f"{name}.gif"
        lines += [f"### {name}", ""]
        if film.exists():
            lines += [f"![{name}](../pictures/{name}.gif)", ""]
        facts = {
            "Id": f"`{entry.env_id}`",
            "Task": f"{entry.task}: {entry.task_space}",
            "Reward": entry.reward,
            "Observation, action": f"{entry.observation}, {entry.action}",
            "Episode": f"{entry.horizon} steps; ends where: {entry.ends}",
            "Source": entry.source,
            "Known deviations": entry.differs or "none",
            "Options": entry.options or "none",
        }
        lines += ["| | |", "|---|---|", *(f"| {fact} | {_cell(value)} |" for fact, value in facts.items()), ""]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def output(args: Sequence[str], width: int = 80) -> str:
    """Return what a command prints, as a terminal of this width shows it."""
    said, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main(list(args))
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in said.getvalue().splitlines()) + "\n"
