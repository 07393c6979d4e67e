"""metarl benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarl.cli.console import plain_console
from metarl.cli.options import Benchmark
from metarl.cli.own import typed_method, typed_modules
from metarl.cli.parse import parse
from metarl.cli.start import name_first, start, title
from metarl.cli.tables import results_table
from metarl.errors import UserError, check_counts
from metarl.experiment.config import Config
from metarl.experiment.parts import typed_parts
from metarl.experiment.preset_file import stated
from metarl.experiment.settings import with_settings
from metarl.methods import METHODS
from metarl.report.benchmark import ENDINGS, Protocol
from metarl.report.benchmark import benchmark as compare
from metarl.report.comparison import BASELINES


def labels(methods: Sequence[str]) -> list[str]:
    """Return what results call each method: of `module:Class` the class, or module.Class where that is taken."""
    classes = [method.rpartition(":")[2] for method in methods]
    taken = {*METHODS, *BASELINES, *(name for name in classes if classes.count(name) > 1)}
    return [
        method.replace(":", ".") if ":" in method and name in taken else name
        for method, name in zip(methods, classes, strict=True)
    ]


def benchmark(args: list[str]) -> int:
    """Train methods and baselines under one budget and compare them."""
    name, rest = name_first("benchmark", args)
    command: Benchmark = parse(Benchmark, rest, f"metarl benchmark {name}")
    typed = [method.strip() for method in command.methods.split(",")]
    modules = typed_modules([name, *typed], command.imports)
    config = start(name, modules)
    if not isinstance(config, Config):
        raise UserError(f"benchmark compares policies in environments; {name} is of {config.title}")
    own_horizon = {} if command.horizon is None else {"horizon": command.horizon}
    config = with_settings(config, own_horizon)
    counts = ("seeds", "budget", "steps", "tasks", "episodes")
    check_counts(**{name: (getattr(command, name), 1) for name in counts})
    console = plain_console(soft_wrap=True)
    out = command.out or Path("runs") / f"benchmark-{title(name)}"
    protocol = Protocol(command.budget, command.steps, command.tasks, command.episodes)
    methods = labels(typed)
    own = {label: typed_method(m, config) for label, m in zip(methods, typed, strict=True) if ":" in m}
    parts = typed_parts(config.named_parts, modules)
    keep = stated(name) | own_horizon.keys()
    summary = compare(config, methods, command.seeds, protocol, out, console.print, own, parts, command.style, keep)
    if summary["methods"]:
        wrapped = plain_console()
        wrapped.print(results_table(summary, wrapped))
        over = "seeds" if command.seeds > 1 else "tasks of the one seed"
        console.print(f"means, ± half of their 95 % intervals over the {over}")
    figure = f"curves{ENDINGS[command.style]}"
    for line in _of_scratch(summary, figure):
        console.print(line)
    console.print(f"{figure}, results.csv and results.json are in {out}")
    return 0


def _of_scratch(summary: dict[str, Any], figure: str) -> list[str]:
    """Say where PPO from scratch is, which has no row, and what it needs for what methods reach by one step."""
    if "scratch" not in summary:
        return []
    scratch = summary["scratch"]
    tasks = f"{len(scratch['tasks'])} task{'s' * (len(scratch['tasks']) != 1)}"
    lines = [f"scratch, PPO on {tasks} one by one, adapts to none: it is in {figure} and results.json, and has no row"]
    for method in (name for name in scratch["reached"] if name not in BASELINES):
        needed, reached = scratch["steps_needed"][method], scratch["reached"][method]
        when = f"{needed:,} environment steps" if needed else f"more than {scratch['env_steps'][-1]:,} steps"
        goal = f"what {method} reaches there by 1 step ({reached:.1f})"
        lines.append(f"PPO from scratch needs {when} in one task for {goal}")
    return lines
