"""The command line: train, eval, presets, envs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Column, Table

import metarl
from metarl.errors import UserError, did_you_mean
from metarl.evaluation import AdaptationCurve
from metarl.experiment.checkpoint import write_atomically
from metarl.experiment.config import Config, FewShotConfig
from metarl.experiment.logging import Terminal, log_figure
from metarl.experiment.methods import check_method, with_method
from metarl.experiment.presets import PRESETS, find_preset
from metarl.experiment.run import Interrupted, RunDirectory, resume, train
from metarl.experiment.training import Trainer
from metarl.few_shot import FewShot
from metarl.learners import LEARNERS, OUTERS
from metarl.report.analysis import analyse, draw_analysis
from metarl.report.plot import plot_runs
from metarl.report.sines import plot_sines
from metarl.report.tables import analysis_table, curve_table
from metarl.report.video import film_adaptation, log_film, write_film
from metarl.rl.make import registered, summary

HELP = """usage: metarl COMMAND ...

  metarl train PRESET [--method NAME] [--iterations N] [--seed S] [--log-dir D] [--resume] ...
                                                                                meta-train a policy
  metarl eval RUN [--steps 3] [--tasks 40] [--episodes 20] [--json FILE] ...     adaptation curve on held-out tasks
  metarl plot RUN... [--out runs.png]                                           learning and adaptation curves
  metarl video RUN [--task T ...] [--out film.gif]                              a task before and after adaptation
  metarl analyse RUN [--along]                                                  what adaptation changes, by layer
  metarl presets                                                                what can be trained
  metarl envs                                                                   the task distributions

'metarl train PRESET --help' and 'metarl eval --help' list every option."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Meta-train a policy; settings not given are the preset's."""

    config: Config | FewShotConfig
    log_dir: Path | None = None
    """Run directory; by default runs/PRESET/<time>."""
    resume: bool = False
    """Go on with the run in the run directory."""


@dataclasses.dataclass(frozen=True)
class Eval:
    """Draw the adaptation curve of a run on held-out tasks."""

    run: tyro.conf.Positional[Path]
    """Run directory, or a file that `save` wrote."""
    steps: int = 3
    """Gradient steps."""
    tasks: int = 40
    """Held-out tasks."""
    episodes: int | None = None
    """Episodes a task and step, 20 by default; for reinforcement learning only."""
    seed: int = 1
    """Chooses the tasks and their data; training evaluates itself on those of the run's own seed."""
    checkpoint: Literal["best", "last"] = "best"
    """Which checkpoint of a run directory: the best on held-out tasks, or the newest."""
    json: Path | None = None
    """Where to write the curve as JSON."""
    figure: Path | None = None
    """Where to draw the sine waves fitted before and after (sinusoid only)."""


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


@dataclasses.dataclass(frozen=True)
class Analyse:
    """Freeze layers at test time, and compare each layer before and after adaptation."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    steps: int | None = None
    """Gradient steps; by default as many as in training."""
    tasks: int = 20
    """Held-out tasks."""
    seed: int = 1
    """Chooses the tasks and their data."""
    along: bool = False
    """Analyse every checkpoint kept along training, oldest first; else the best."""
    out: Path | None = None
    """Where to draw it; by default analysis.png in the run directory."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for the user's errors, 128 + n after signal n."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(args)
    except (UserError, FloatingPointError) as error:
        print(f"metarl: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        print(f"metarl: stopped by {stop}; saved, --resume goes on", file=sys.stderr)
        return stop.exit_status
    except KeyboardInterrupt:
        print("metarl: stopped at once; --resume goes on from the last checkpoint", file=sys.stderr)
        return 130


def _dispatch(args: list[str]) -> int:
    commands = {
        "train": _train,
        "eval": _eval,
        "plot": _plot,
        "video": _video,
        "analyse": _analyse,
        "presets": _presets,
        "envs": _envs,
    }
    if not args or args[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if args[0] == "--version":
        print(metarl.__version__)
        return 0
    if args[0] not in commands:
        raise UserError(f"unknown command {args[0]!r}{did_you_mean(args[0], commands)}; 'metarl --help' lists all")
    return commands[args[0]](args[1:])


def _train(args: list[str]) -> int:
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        raise UserError(f"train needs a preset first: {', '.join(PRESETS)}")
    name, rest = args[0], args[1:]
    if name in ("-h", "--help"):
        name, rest = "point-navigation", ["--help"]
    config, rest = _with_method(find_preset(name), rest)
    command: Train = _parse(Train, rest, f"metarl train {name}", default=Train(config))
    if command.resume and command.log_dir is None:
        raise UserError("--resume needs --log-dir, the run directory to go on with")
    if command.resume and command.log_dir is not None:  # options not given are the run's
        old = RunDirectory(command.log_dir).config()
        if old.title != config.title:
            raise UserError(f"{command.log_dir} holds a run of {old.title}, not of {config.title}")
        default = Train(_with_method(old, args[1:])[0], command.log_dir)
        command = _parse(Train, rest, f"metarl train {name}", default=default)
    check_method(_take(args, "--method", LEARNERS)[0], command.config.learner)
    log_dir = command.log_dir or Path("runs") / name / time.strftime("%Y%m%d-%H%M%S")
    console = Console(highlight=False, soft_wrap=True)
    directory = RunDirectory(log_dir)
    if directory.holds_run and not command.resume:
        raise UserError(f"{log_dir} already holds a run; go on with it by --resume or choose another --log-dir")
    trainer = Trainer(command.config)
    try:
        if command.resume and command.log_dir is not None:
            for note in resume(trainer, directory):
                console.print(f"metarl: {note}")
        else:
            directory.create(command.config)
        total = trainer.config.iterations
        console.print(f"{name}: {trainer.config.title}, {total} meta-iterations, writing to {log_dir}")
        curve = train(trainer, total, directory, Terminal(total, name))
        _show(console, curve or trainer.evaluate(), trainer.config.later_lr)
    finally:
        trainer.close()
    console.print(f"\nLook further:\n  tensorboard --logdir {log_dir}\n  metarl eval {log_dir}")
    return 0


def _with_method(config: Config | FewShotConfig, args: list[str]) -> tuple[Config | FewShotConfig, list[str]]:
    """Apply `--method NAME` and `--outer NAME`, whose settings the other options then change."""
    method, args = _take(args, "--method", LEARNERS)
    outer, args = _take(args, "--outer", OUTERS)
    return with_method(config, method, outer), args


def _take(args: list[str], option: str, known: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Take an option and its value, one of the names known, out of the arguments."""
    args = [part for arg in args for part in (arg.split("=", 1) if arg.startswith(f"{option}=") else [arg])]
    if option not in args:
        return None, args
    at = args.index(option)
    name = args[at + 1] if at + 1 < len(args) else ""
    if name not in known:
        what = option.removeprefix("--")
        raise UserError(f"unknown {what} {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    return name, args[:at] + args[at + 2 :]


def _eval(args: list[str]) -> int:
    command: Eval = _parse(Eval, args, "metarl eval")
    if command.json is not None and not command.json.parent.is_dir():
        raise UserError(f"cannot write {command.json}: {command.json.parent} is no directory")
    path = command.run
    if command.checkpoint == "last" and path.is_dir():
        path = (RunDirectory(path).checkpoints() or [path])[-1]
    model = metarl.load(path)
    try:
        if command.figure is not None:
            _fits(model, command)
        curve = metarl.adaptation_curve(model, command.steps, command.tasks, command.episodes, command.seed)
    finally:
        model.close()
    _show(Console(highlight=False), curve, model.config.later_lr)
    if command.json is not None:
        write_atomically(command.json, json.dumps(curve.as_dict(), indent=2).encode())
    return 0


def _fits(model: Any, command: Eval) -> None:
    """Draw the fitted sine waves."""
    if not isinstance(model, FewShot):
        raise UserError(f"--figure draws sinusoid runs only, {command.run} is of {model.config.title}")
    steps = tuple(sorted({0, min(1, command.steps), command.steps}))
    _save(plot_sines(model, steps, seed=command.seed), cast(Path, command.figure))


def _plot(args: list[str]) -> int:
    command: Plot = _parse(Plot, args, "metarl plot")
    if not command.runs:
        raise UserError("plot needs a run directory or several")
    _save(plot_runs(command.runs), command.out)
    return 0


def _save(figure: Figure, out: Path) -> None:
    """Write a figure in the format that the file's ending says."""
    try:
        figure.savefig(out, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {str(out)!r}: {error}") from error
    print(f"wrote {out}")


def _video(args: list[str]) -> int:
    command: Video = _parse(Video, args, "metarl video")
    model = metarl.load(command.run)
    if isinstance(model, FewShot):
        raise UserError(f"nothing to film: {command.run} is a run on {model.config.data}")
    try:
        frames, fps = film_adaptation(model, command.task or None, command.steps, command.seed)
    finally:
        model.close()
    out = command.out or (command.run / "adaptation.gif" if command.run.is_dir() else Path("adaptation.gif"))
    write_film(frames, fps, out)
    print(f"wrote {out}")
    if command.run.is_dir():
        log_film(frames, fps, command.run, model.trainer.env_steps)
        print(f"and into TensorBoard: tensorboard --logdir {command.run} (Images, adaptation/film)")
    return 0


def _analyse(args: list[str]) -> int:
    command: Analyse = _parse(Analyse, args, "metarl analyse")
    directory = RunDirectory(command.run)
    directory.config()  # says so if there is no run
    paths = directory.checkpoints() if command.along else [command.run]
    if command.along and len(paths) < 2:
        raise UserError(f"{command.run} holds no checkpoints along training; train with --keep-checkpoints 20, say")
    found, steps = [], 0
    for path in paths:
        model = metarl.load(path)
        steps = model.trainer.env_steps
        try:
            found.append(analyse(model, command.steps, command.tasks, command.seed))
        finally:
            model.close()
    Console(highlight=False).print(analysis_table(found[-1]))
    figure = draw_analysis(found)
    _save(figure, command.out or command.run / "analysis.png")
    record = json.dumps([analysis.as_dict() for analysis in found]).encode()
    write_atomically(command.run / "analysis.json", record)
    log_figure(figure, command.run, "analysis/layers", steps)
    return 0


def _presets(args: list[str]) -> int:
    _no_more(args, "presets")
    table = Table(Column("preset", no_wrap=True), "tasks", "size", "inner step", "iterations")
    for name, config in PRESETS.items():
        inner_lr = str(getattr(config.learner, "inner_lr", ""))
        if isinstance(config, FewShotConfig):
            size = f"{config.tasks} x {config.shots}"
            table.add_row(name, config.data, size, inner_lr, str(config.iterations))
            continue
        horizon = config.horizon or registered()[config.env].max_episode_steps
        size = f"{config.tasks} x {config.episodes} x {horizon}"
        table.add_row(name, config.env, size, inner_lr, str(config.iterations))
    Console().print(table)
    return 0


def _envs(args: list[str]) -> int:
    _no_more(args, "envs")
    table = Table("environment", "horizon", "what it is")
    for env_id, spec in registered().items():
        table.add_row(env_id, str(spec.max_episode_steps), summary(spec))
    Console().print(table)
    return 0


def _show(console: Console, curve: AdaptationCurve, later_lr: float) -> None:
    """Print an adaptation curve."""
    console.print(curve_table(curve))
    if len(curve.steps) > 2 and later_lr != 1 and curve.unit == AdaptationCurve.unit:
        console.print(f"(steps after the first use {later_lr:g} times the inner step size)")


def _parse(kind: type[Any], args: list[str], prog: str, default: Any = tyro.MISSING) -> Any:
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


def _fields(value: Any) -> list[str]:
    """Return the names of all settings, nested ones too."""
    names: list[str] = []
    for f in dataclasses.fields(value):
        inner = None if isinstance(value, type) else getattr(value, f.name)
        names += _fields(inner) if dataclasses.is_dataclass(inner) else [f.name]
    return [*names, "method", "outer"]


def _no_more(args: list[str], command: str) -> None:
    if args:
        raise UserError(f"{command} takes no arguments, got {' '.join(args)!r}")


def run() -> None:
    """Entry point of the `metarl` command."""
    sys.exit(main())
