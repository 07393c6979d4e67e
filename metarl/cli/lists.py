"""metarl presets and metarl envs."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table

from metarl.errors import UserError
from metarl.experiment.config import FewShotConfig
from metarl.experiment.presets import PRESETS
from metarl.rl.environments import catalogue, registered


def presets(args: list[str]) -> int:
    """List what can be trained."""
    _no_more(args, "presets")
    table = Table(Column("preset", no_wrap=True), Column("tasks", overflow="fold"), "size", "inner step", "iterations")
    for name, config in PRESETS.items():
        inner_lr = str(getattr(config.method, "inner_lr", ""))
        if isinstance(config, FewShotConfig):
            size = f"{config.tasks} x {config.shots}"
            table.add_row(name, config.data, size, inner_lr, str(config.iterations))
            continue
        horizon = config.horizon or registered()[config.env].max_episode_steps
        size = f"{config.tasks} x {config.episodes} x {horizon}"
        table.add_row(name, config.env, size, inner_lr, str(config.iterations))
    console = Console()
    Console(width=None if console.is_terminal else 120).print(table)
    return 0


def envs(args: list[str]) -> int:
    """List the task distributions."""
    _no_more(args, "envs")
    table = Table("environment", "task", "task space", "reward", "observation", "action", "horizon", "ends where")
    for e in catalogue():
        table.add_row(e.env_id, e.task, e.task_space, e.reward, e.observation, e.action, str(e.horizon), e.ends)
    console = Console()
    Console(width=None if console.is_terminal else 220).print(table)
    return 0


def _no_more(args: list[str], command: str) -> None:
    if args:
        raise UserError(f"{command} takes no arguments, got {' '.join(args)!r}")
