"""The options of each command, and how a wrong one becomes one clear line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from metarl.errors import UserError, did_you_mean
from metarl.experiment.config import Config, FewShotConfig


@dataclasses.dataclass(frozen=True)
class Train:
    """Meta-train a policy or a network; settings not given are the preset's.

    --method NAME chooses the method (maml, fomaml, anil, meta-sgd, reptile, promp, ppo-maml, e-maml or rl2)
    and --outer NAME its outer update (trpo, ppo, adam or interpolation); their own settings follow below.
    """

    config: Config | FewShotConfig
    log_dir: Path | None = None
    """Run directory; by default runs/PRESET/<time>."""
    resume: bool = False
    """Go on with the run in the run directory."""


@dataclasses.dataclass(frozen=True)
class Eval:
    """Draw the adaptation curve of a run on held-out tasks."""

    run: tyro.conf.Positional[Path]
    """Run directory, a file that `save` wrote, or pretrained:NAME."""
    steps: int = 3
    """Gradient steps."""
    tasks: int = 40
    """Held-out tasks."""
    episodes: int | None = None
    """Episodes a task and step, 20 by default; for reinforcement learning only."""
    seed: int = 1
    """Chooses the tasks and their data, never those by which the run chose its best."""
    checkpoint: Literal["best", "last"] = "best"
    """Which checkpoint of a run directory: the best on held-out tasks, or the newest."""
    json: Path | None = None
    """Where to write the curve as JSON."""
    figure: Path | None = None
    """Where to draw what adaptation does: the paths in 2-D navigation or the sine waves fitted."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Modules of yours that hold what the run was made with."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw learning and adaptation curves of runs of one environment."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories."""
    out: Path = Path("runs.png")
    """Where to write the picture; the ending says which format."""


@dataclasses.dataclass(frozen=True)
class Video:
    """Film a task before and after adaptation, side by side."""

    run: tyro.conf.Positional[Path]
    """Run directory, or a file that `save` wrote."""
    task: tuple[float, ...] = ()
    """The task; by default a held-out one."""
    steps: int = 1
    """Gradient steps between the two."""
    seed: int = 0
    """Chooses the task and the episodes."""
    out: Path | None = None
    """Where to write, .gif or .mp4; by default adaptation.gif in the run directory."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Modules of yours that hold what the run was made with."""


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a policy, adapted to a task, as a model of stable-baselines3's PPO; its value network starts untrained."""

    run: tyro.conf.Positional[Path]
    """Run directory, a file that `save` wrote, or pretrained:NAME."""
    to: tuple[str, Path]
    """The format, which is sb3, and the file."""
    task: tuple[float, ...] = ()
    """The task to adapt to."""
    steps: int | None = None
    """Gradient steps, by default as many as in training; 0 exports the policy before adaptation."""
    seed: int = 0
    """Chooses the episodes it adapts by."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Modules of yours that hold what the run was made with."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Train methods and baselines under one budget and compare their adaptation curves."""

    methods: str = "maml,fomaml,anil,reptile,pretrained,random,oracle"
    """Methods and baselines, by comma; random, pretrained, oracle and scratch (PPO on single tasks) are baselines."""
    seeds: int = 3
    """Number of seeds."""
    budget: int = 2_000_000
    """Environment steps each run may train."""
    out: Path | None = None
    """Where to write; what is there already is not done again. By default runs/benchmark-PRESET."""


@dataclasses.dataclass(frozen=True)
class Analyse:
    """Freeze layers at test time, and compare each layer before and after adaptation."""

    run: tyro.conf.Positional[Path]
    """Run directory, a file that `save` wrote, or pretrained:NAME."""
    steps: int | None = None
    """Gradient steps; by default as many as in training."""
    tasks: int = 20
    """Held-out tasks."""
    seed: int = 1
    """Chooses the tasks and their data."""
    along: bool = False
    """Analyse every checkpoint kept in the run directory, oldest first; else the best."""
    out: Path | None = None
    """Where to draw it; by default analysis.png in the run directory. The numbers go beside it, as .json."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Modules of yours that hold what the run was made with."""


def parse(kind: type[Any], args: list[str], prog: str, default: Any = tyro.MISSING) -> Any:
    """Parse options into a dataclass; what tyro says in a box becomes one line."""
    flat = Annotated[kind, tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff]
    said = io.StringIO()
    extra = {} if default is tyro.MISSING else {"default": default}
    try:
        with contextlib.redirect_stderr(said):
            parsed, unknown = tyro.cli(flat, args=args, prog=prog, return_unknown_args=True, **extra)  # type: ignore
    except SystemExit as stop:
        if not stop.code:
            raise
        words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", said.getvalue()).split())
        padding = r"^(Parsing|Value) error (Error parsing )?|( Argument helptext:| For full helptext).*$"
        said_of = re.sub(padding, "", words)
        raise UserError(said_of or "bad arguments") from stop
    if unknown:
        flag = unknown[0]
        known = [f"--{name.replace('_', '-')}" for name in _fields(default if extra else kind)]
        raise UserError(f"unknown option {flag!r}{did_you_mean(flag.split('=')[0], known)}; '{prog} --help' lists all")
    return parsed


def parse_train(name: str, args: list[str], default: Train) -> Train:
    """Parse the options of a training, which change the default's settings."""
    config = default.config
    if not isinstance(config, FewShotConfig):
        # a dictionary that is not empty would take its own keys as options, and no others
        config = dataclasses.replace(config, env_options={})
    typed = dataclasses.replace(default, config=_narrowed(config))
    command: Train = parse(Train, args, f"metarl train {name}", default=typed)
    given, method = _plain(config, command.config), default.config.method
    if isinstance(given, Config) and isinstance(default.config, Config):
        given = dataclasses.replace(given, env_options={**default.config.env_options, **given.env_options})
    if given.method != method and not any(arg.split("=")[0] == "--episodes" for arg in args):
        suited = given.method.suited(default.config)
        given = dataclasses.replace(given, **{n: v for n, v in suited.items() if n == "episodes"})
    return dataclasses.replace(command, config=given)


def _narrowed(config: Any) -> Any:
    """Return the configuration as an object whose type says which method and outer update it has: their options."""
    method: Any = config.method
    parts = {"method": _retyped(method, {"outer": method.outer})} if dataclasses.is_dataclass(config.method) else {}
    return _retyped(config, parts)


def _retyped(value: Any, parts: dict[str, Any]) -> Any:
    """Return an equal object of a subclass in which these fields are declared as of the types that they have."""
    kind = type(value)
    declared = [(name, type(part), dataclasses.field(default=part)) for name, part in parts.items()]
    narrow = dataclasses.make_dataclass(kind.__name__, declared, bases=(kind,), frozen=True, kw_only=True)
    narrow.__doc__, narrow.__module__ = kind.__doc__, kind.__module__
    return narrow(**{f.name: getattr(value, f.name) for f in dataclasses.fields(value)} | parts)


def _plain(config: Any, typed: Any) -> Any:
    """Return the configuration with the values of its narrowed form."""
    values = {f.name: getattr(typed, f.name) for f in dataclasses.fields(config)}
    if dataclasses.is_dataclass(config.method):
        own = {f.name: getattr(typed.method, f.name) for f in dataclasses.fields(config.method)}
        values["method"] = type(config.method)(**own)
    return type(config)(**values)


def _fields(value: Any) -> list[str]:
    """Return the names of all settings, nested ones too."""
    names: list[str] = []
    for f in dataclasses.fields(value):
        inner = None if isinstance(value, type) else getattr(value, f.name)
        names += _fields(inner) if dataclasses.is_dataclass(inner) else [f.name]
    return [*names, "method", "outer"]
