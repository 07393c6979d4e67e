"""metarl benchmark."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from metarl.cli.options import Benchmark
from metarl.cli.own import typed_method, typed_modules
from metarl.cli.parse import parse
from metarl.cli.start import start, title
from metarl.errors import UserError
from metarl.experiment.config import Config
from metarl.experiment.parts import typed_parts
from metarl.methods import METHODS
from metarl.report.benchmark import Protocol
from metarl.report.benchmark import benchmark as compare
from metarl.report.comparison import BASELINES


def label(method: str) -> str:
    """Return what results call a method: of `module:Class` the class, where we have none of that name."""
    own = method.rpartition(":")[2]
    return method.replace(":", ".") if ":" in method and own in (*METHODS, *BASELINES) else own


def benchmark(args: list[str]) -> int:
    """Train methods and baselines under one budget and compare them."""
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        raise UserError("benchmark needs a preset or an environment first; 'metarl presets' lists the presets")
    name, rest = ("PRESET", ["--help"]) if args[0] in ("-h", "--help") else (args[0], args[1:])
    command: Benchmark = parse(Benchmark, rest, f"metarl benchmark {name}")
    typed = [method.strip() for method in command.methods.split(",")]
    modules = typed_modules([name, *typed], command.imports)
    config = start(name, modules)
    if not isinstance(config, Config):
        raise UserError(f"benchmark compares policies in environments; {name} is of {config.title}")
    if command.seeds < 1 or command.budget < 1:
        raise UserError(f"seeds and budget must be at least 1, got {command.seeds} and {command.budget}")
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    out = command.out or Path("runs") / f"benchmark-{title(name)}"
    protocol = Protocol(command.budget)
    own = {label(method): typed_method(method, config) for method in typed if ":" in method}
    parts = typed_parts(config.named_parts, modules)
    methods = [label(method) for method in typed]
    summary = compare(config, methods, command.seeds, protocol, out, console.print, own, parts)
    steps = [f"{k} step{'s' * (k != 1)}" for k in range(protocol.steps + 1)]
    table = Table("method", *steps, "gain", "trained", "minutes")
    for method, row in summary["methods"].items():
        curve = [f"{value:.1f}" for value in (*row["mean"], row["gain_step1"])]
        table.add_row(method, *curve, f"{row['env_steps']:,.0f}", f"{row['seconds'] / 60:.1f}")
    Console(highlight=False, emoji=False).print(table)
    scratch = summary.get("scratch", {"reached": {}})
    for method, value in ((name, reached) for name, reached in scratch["reached"].items() if name not in BASELINES):
        needed = scratch["steps_needed"][method]
        when = f"{needed:,} environment steps" if needed else f"more than {scratch['env_steps'][-1]:,} steps"
        console.print(
            f"PPO from scratch needs {when} in one task for what {method} reaches there by 1 step ({value:.1f})"
        )
    over = "seeds" if command.seeds > 1 else "tasks of its one seed"
    console.print(f"means; 95 % intervals over the {over}, results.csv, results.json\nand curves.png are in {out}")
    return 0
