"""The command line: train, eval, plot, video, export, benchmark, analyse, presets, envs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Column, Table

import metarl
from metarl.errors import UserError, did_you_mean
from metarl.evaluation import AdaptationCurve
from metarl.experiment.checkpoint import write_json
from metarl.experiment.config import Config, FewShotConfig
from metarl.experiment.film import film_adaptation, log_film, write_film
from metarl.experiment.logging import Terminal, log_figure
from metarl.experiment.methods import check_method, with_method
from metarl.experiment.presets import PRESETS, find_preset
from metarl.experiment.run import Interrupted, RunDirectory, resume, train
from metarl.experiment.training import Trainer
from metarl.few_shot import FewShot
from metarl.learners import LEARNERS, OUTERS
from metarl.models import Model
from metarl.options import Analyse, Benchmark, Eval, Export, Plot, Train, Video, parse, parse_train
from metarl.report.analysis import analyse, draw_analysis
from metarl.report.benchmark import Protocol, benchmark
from metarl.report.plot import plot_paths, plot_runs
from metarl.report.sines import plot_sines
from metarl.report.tables import analysis_table, curve_table
from metarl.rl.make import catalogue, registered

HELP = """usage: metarl COMMAND ...

  metarl train PRESET [--method NAME] [--iterations N] [--seed S] [--log-dir D] [--resume] ...
                                                                                meta-train a policy or network
  metarl eval RUN [--steps 3] [--tasks 40] [--episodes 20] [--json FILE] ...     adaptation curve on held-out tasks
  metarl plot RUN... [--out runs.png]                                           learning and adaptation curves
  metarl video RUN [--task T ...] [--out film.gif]                              a task before and after adaptation
  metarl export RUN --task T --to sb3 FILE                                      an adapted policy for stable-baselines3
  metarl benchmark PRESET [--methods M,M] [--seeds 3] [--budget STEPS]          methods and baselines compared
  metarl analyse RUN [--along] [--out analysis.png]                             what adaptation changes, by layer
  metarl presets                                                                what can be trained
  metarl envs                                                                   the task distributions

'metarl train PRESET --help' and 'metarl eval --help' list every option."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for the user's errors, 128 + n after signal n."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(args)
    except (UserError, FloatingPointError) as error:
        print(f"metarl: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        print(f"metarl: stopped by {stop}; saved{', --resume goes on' * (args[0] == 'train')}", file=sys.stderr)
        return stop.exit_status
    except KeyboardInterrupt:
        print("metarl: stopped at once; what was saved stays", file=sys.stderr)
        return 130


def _dispatch(args: list[str]) -> int:
    commands = {
        "train": _train,
        "eval": _eval,
        "plot": _plot,
        "video": _video,
        "export": _export,
        "benchmark": _benchmark,
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
    command = parse_train(name, rest, Train(config))
    if command.resume and command.log_dir is None:
        raise UserError("--resume needs --log-dir, the run directory to go on with")
    if command.resume and command.log_dir is not None:  # options not given are the run's
        old = RunDirectory(command.log_dir).config()
        if _source(old) != _source(command.config):
            raise UserError(f"{command.log_dir} holds a run of {_source(old)}, not of {_source(command.config)}")
        default = Train(_with_method(old, args[1:])[0], command.log_dir)
        command = parse_train(name, rest, default)
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
            trainer.check()
            directory.create(command.config)
        total = trainer.config.iterations
        console.print(f"{name}: {trainer.config.title}, {total} meta-iterations, writing to {log_dir}")
        curve = train(trainer, total, directory, Terminal(total, name))
        _show(console, curve or trainer.evaluate(), trainer.config)
    finally:
        trainer.close()
    console.print(f"\nLook further:\n  tensorboard --logdir {log_dir}\n  metarl eval {log_dir}")
    return 0


def _source(config: Config | FewShotConfig) -> str:
    """Return what a resumed run must share: the environment, or the data and the kind of tasks drawn from them."""
    if not isinstance(config, FewShotConfig):
        return config.env
    return config.data + f", {config.ways}-way" * config.pictures + ", oracle" * config.oracle


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
    command: Eval = parse(Eval, args, "metarl eval")
    if command.json is not None and not command.json.parent.is_dir():
        raise UserError(f"cannot write {command.json}: {command.json.parent} is no directory")
    model = metarl.load(command.run, best=command.checkpoint == "best")
    try:
        if command.figure is not None:
            _save(_figure(model, command), command.figure)
        curve = metarl.adaptation_curve(model, command.steps, command.tasks, command.episodes, command.seed)
    finally:
        model.close()
    _show(Console(highlight=False), curve, model.config)
    if command.json is not None:
        write_json(command.json, curve.as_dict())
    return 0


def _figure(model: Model | FewShot, command: Eval) -> Figure:
    """Draw adaptation itself: the sine waves fitted, or the paths in 2-D navigation."""
    if isinstance(model, Model):
        return plot_paths(model, command.steps, seed=command.seed)
    steps = tuple(sorted({0, min(1, command.steps), command.steps}))
    return plot_sines(model, steps, seed=command.seed)


def _plot(args: list[str]) -> int:
    command: Plot = parse(Plot, args, "metarl plot")
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
    command: Video = parse(Video, args, "metarl video")
    model = metarl.load(command.run)
    if isinstance(model, FewShot):
        raise UserError(f"nothing to film: {command.run} is a run on {model.config.data}")
    try:
        frames, fps = film_adaptation(model.trainer, command.task or None, command.steps, command.seed)
    finally:
        model.close()
    out = command.out or (command.run / "adaptation.gif" if command.run.is_dir() else Path("adaptation.gif"))
    write_film(frames, fps, out)
    print(f"wrote {out}")
    if command.run.is_dir():
        log_film(frames, fps, command.run, model.trainer.env_steps)
        print(f"and into TensorBoard: tensorboard --logdir {command.run} (Images, adaptation/film)")
    return 0


def _export(args: list[str]) -> int:
    command: Export = parse(Export, args, "metarl export")
    kind, out = command.to
    if kind != "sb3":
        raise UserError(f"unknown format {kind!r}; export writes sb3, given as --to sb3 FILE")
    if not command.task and command.steps != 0:
        raise UserError("export adapts to a task: give --task T, or --steps 0 for the policy before adaptation")
    model = metarl.load(command.run)
    if isinstance(model, FewShot):
        raise UserError(f"PPO takes policies only; {command.run} is of {model.config.title}")
    try:
        model.export_sb3(out, command.task or None, command.steps, command.seed)
    finally:
        model.close()
    print(f"wrote {out}: stable_baselines3.PPO.load reads it; its value network is untrained")
    return 0


def _benchmark(args: list[str]) -> int:
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        raise UserError(f"benchmark needs a preset first: {', '.join(PRESETS)}")
    name, rest = ("point-navigation", ["--help"]) if args[0] in ("-h", "--help") else (args[0], args[1:])
    command: Benchmark = parse(Benchmark, rest, f"metarl benchmark {name}")
    config = find_preset(name)
    if isinstance(config, FewShotConfig):
        raise UserError(f"benchmark compares policies in environments; {name} is of {config.title}")
    if command.seeds < 1 or command.budget < 1:
        raise UserError(f"seeds and budget must be at least 1, got {command.seeds} and {command.budget}")
    console = Console(highlight=False, soft_wrap=True)
    out = command.out or Path("runs") / f"benchmark-{name}"
    protocol = Protocol(command.budget)
    summary = benchmark(config, command.methods.split(","), command.seeds, protocol, out, console.print)
    table = Table("method", *(f"{k} steps" for k in range(protocol.steps + 1)), "gain", "env steps", "minutes")
    for method, row in summary["methods"].items():
        points = zip(row["iqm"], row["ci_low"], row["ci_high"], strict=True)
        curve = [f"{value:.1f} ({low:.1f}, {high:.1f})" for value, low, high in points]
        used = f"{row['env_steps'] / 1e6:.1f}M", f"{row['seconds'] / 60:.1f}"
        table.add_row(method, *curve, f"{row['gain_step1']:.1f}", *used)
    Console(width=None if console.is_terminal else 140, highlight=False).print(table)
    scratch = summary.get("scratch", {"reached": {}})
    for method, value in scratch["reached"].items():
        needed = scratch["steps_needed"][method]
        when = f"{needed:,} environment steps" if needed else f"more than {scratch['env_steps'][-1]:,} steps"
        console.print(f"PPO from scratch needs {when} in one task for what {method} reaches by 1 step ({value:.1f})")
    console.print(f"interquartile means and 95 % intervals; curves.png, results.csv and results.json are in {out}")
    return 0


def _analyse(args: list[str]) -> int:
    command: Analyse = parse(Analyse, args, "metarl analyse")
    paths = [command.run]
    if command.along:
        directory = RunDirectory(command.run)
        directory.config()  # says so if there is no run
        paths = directory.checkpoints()
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
    is_run = command.run.is_dir()
    out = command.out or (command.run / "analysis.png" if is_run else Path("analysis.png"))
    _save(figure, out)
    write_json(out.with_suffix(".json"), [analysis.as_dict() for analysis in found])
    if is_run:
        log_figure(figure, command.run, "analysis/layers", steps)
    return 0


def _presets(args: list[str]) -> int:
    _no_more(args, "presets")
    table = Table(Column("preset", no_wrap=True), Column("tasks", overflow="fold"), "size", "inner step", "iterations")
    for name, config in PRESETS.items():
        inner_lr = str(getattr(config.learner, "inner_lr", ""))
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


def _envs(args: list[str]) -> int:
    _no_more(args, "envs")
    table = Table("environment", "task", "task space", "reward", "observation", "action", "horizon", "ends where")
    for e in catalogue():
        table.add_row(e.env_id, e.task, e.task_space, e.reward, e.observation, e.action, str(e.horizon), e.ends)
    console = Console()
    Console(width=None if console.is_terminal else 220).print(table)
    return 0


def _show(console: Console, curve: AdaptationCurve, config: Config | FewShotConfig) -> None:
    """Print an adaptation curve."""
    console.print(curve_table(curve))
    trained = config.learner.inner_steps
    if curve.steps[-1] > trained and config.later_lr != 1 and curve.unit == AdaptationCurve.unit:
        console.print(f"(steps beyond {trained} use {config.later_lr:g} times the inner step size)")


def _no_more(args: list[str], command: str) -> None:
    if args:
        raise UserError(f"{command} takes no arguments, got {' '.join(args)!r}")


def run() -> None:
    """Entry point of the `metarl` command."""
    sys.exit(main())
