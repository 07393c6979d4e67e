"""metarl presets and metarl envs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from metarl.cli.console import plain_console
from metarl.cli.options import Envs, Presets
from metarl.cli.own import typed_modules
from metarl.cli.parse import parse
from metarl.errors import UserError, did_you_mean
from metarl.experiment.config_file import as_dict
from metarl.experiment.names import find, is_id
from metarl.experiment.presets import NOT_LEARNED, PRESETS
from metarl.methods import method_name
from metarl.models.pretrained import PREFIX, cards
from metarl.rl.check_env import check_env
from metarl.rl.ids import catalogue

ADAPTOR = "metarl/MetaWorld-v0"
"""An id without a family of ours."""


def presets(args: list[str]) -> int:
    """List what can be trained."""
    command: Presets = parse(Presets, args, "metarl presets")
    if command.json:
        print(json.dumps({name: as_dict(config) for name, config in PRESETS.items()}, indent=2))
        return 0
    rows = []
    for name, c in PRESETS.items():
        tasks = c.source.removeprefix("metarl/").removesuffix("-v0")
        rows.append((name, tasks, method_name(c.method), c.iteration_size, str(c.iterations)))
    console = plain_console()
    console.print(_lines(console, ("preset", "tasks", "method", "an iteration", "times"), rows))
    console.print("\nAn iteration has tasks x episodes x steps, with a memory tasks x lifetimes x", soft_wrap=True)
    console.print("episodes x steps; of few-shot tasks it has tasks x shots (of each class).", soft_wrap=True)
    console.print("'metarl train PRESET --help' shows a preset's settings; --json all of them.", soft_wrap=True)
    console.print(f"With published settings, not seen to learn yet: {', '.join(NOT_LEARNED)}.", soft_wrap=True)
    console.print(f"Policies that come with the package, for 'metarl eval {PREFIX}NAME': {', '.join(cards())}.")
    return 0


def envs(args: list[str]) -> int:
    """List the task distributions, or tell all about one."""
    command: Envs = parse(Envs, args, "metarl envs")
    entries = {entry.env_id: entry for entry in catalogue()}
    if command.check:
        return _check(command.id, entries)
    if command.id is not None:
        entries = {command.id: entries[_known(command.id, entries)]}
    if command.json:
        found = [dataclasses.asdict(entry) for entry in entries.values()]
        print(json.dumps(found if command.id is None else found[0], indent=2, ensure_ascii=False))
        return 0
    console = plain_console()
    if command.id is not None:
        console.print(_about(next(iter(entries.values()))))
        return 0
    rows = [(entry.env_id, entry.task, str(entry.horizon)) for entry in entries.values()]
    console.print(_lines(console, ("environment", "task", "steps"), rows))
    console.print("\n'metarl envs ID' tells all about one: its tasks, reward, options and source.", soft_wrap=True)
    console.print(f"{ADAPTOR} --env-options task NAME: any task of the package metaworld.", soft_wrap=True)
    return 0


def _check(env_id: str | None, entries: dict[str, Any]) -> int:
    """Check an environment, and say what was found good."""
    if env_id is None:
        raise UserError("--check needs an environment's id, or module:Class of your own")
    if ":" in env_id:
        typed_modules([env_id])
    if ":" in env_id and not is_id(env_id):
        check_env(find(env_id))
    else:
        check_env(env_id if ":" in env_id else _known(env_id, entries))
    print(f"{env_id} is a task distribution: its generator alone draws tasks, and each plays the same again")
    return 0


def _known(env_id: str, entries: dict[str, Any]) -> str:
    """Return the id, which may be typed without `metarl/` and `-v0`."""
    full = env_id if "/" in env_id else f"metarl/{env_id}"
    full = full if is_id(full) else f"{full}-v0"
    if ":" in env_id:
        raise UserError(f"this describes the package's own environments, not {env_id!r}; --check checks one of yours")
    if full == ADAPTOR:
        raise UserError(f"{full} plays the package metaworld's own environments, which tell about themselves")
    if full not in entries:
        near = did_you_mean(full, entries) or ";"
        raise UserError(f"unknown environment {env_id!r}{near} 'metarl envs' lists all {len(entries)}")
    return full


def _about(entry: Any) -> Table:
    """Return all there is to say of an environment."""
    table = Table(Column(no_wrap=True, style="bold"), "", box=None, show_header=False, pad_edge=False)
    for name, value in {
        "environment": entry.env_id,
        "task": entry.task,
        "task space": entry.task_space,
        "reward": entry.reward,
        "observation": entry.observation or "a discrete state",
        "action": entry.action,
        "horizon": f"{entry.horizon} steps",
        "terminates where": entry.ends,
        "source": entry.source,
        "differs": entry.differs or "in nothing",
        "options": entry.options.replace("`, `", "\n") or "none",
        "to train": f"metarl train {entry.env_id} [--env-options NAME VALUE ...]",
    }.items():
        table.add_row(name, Text(value.replace("`", "")))
    return table


def _lines(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table without frames, a line a row; the second column ends in an ellipsis where the screen does."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    left = max(12, console.width - sum(widths) + widths[1] - 2 * (len(widths) - 1))
    table = Table(*(Column(name, no_wrap=True) for name in header), box=None, pad_edge=False)
    for row in rows:
        second = Text(row[1])
        second.truncate(left, overflow="ellipsis")
        table.add_row(row[0], second, *row[2:])
    return table
