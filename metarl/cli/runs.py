"""Commands that take a run: eval, plot, video, export, analyse."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

from matplotlib.figure import Figure

from metarl.cli.console import plain_console
from metarl.cli.options import Analyse, Eval, Export, Plot, Video
from metarl.cli.output_file import named, output_file
from metarl.cli.own import typed_modules
from metarl.cli.parse import parse
from metarl.cli.tables import analysis_table, show_curve
from metarl.errors import UserError
from metarl.experiment.checkpoint import write_atomically, write_json
from metarl.experiment.directory import RunDirectory
from metarl.experiment.film import check_film, film_adaptation, log_film, write_film
from metarl.experiment.tensorboard import log_figure
from metarl.models.load import adaptation_curve, load
from metarl.models.methods import VariBAD
from metarl.models.rl import Model
from metarl.models.supervised import FewShot
from metarl.report.analysis import analyse as analyse_model
from metarl.report.analysis import draw_analysis
from metarl.report.beliefs import plot_beliefs
from metarl.report.over_seeds import over_seeds, runs_of_seeds, seeds_as_dict
from metarl.report.plot import as_file, plot_paths
from metarl.report.run_figures import Look, plot_runs
from metarl.report.sines import plot_sines


def eval(args: list[str]) -> int:
    """Draw the adaptation curve of a run, or of several that differ in their seed."""
    command: Eval = parse(Eval, args, "metarl eval")
    command = replace(command, json=output_file(command.json), figure=output_file(command.figure))
    if command.json is not None and command.json == command.figure:
        raise UserError(f"--json and --figure are both {str(command.json)!r}")
    if command.task and command.figure is not None:
        raise UserError("--figure draws held-out tasks; --task is for the curve alone")
    if command.task and command.tasks is not None:
        raise UserError(f"--tasks {command.tasks} counts held-out tasks, --task gives them: give one of the two")
    tasks = list(command.task) or (40 if command.tasks is None else command.tasks)
    runs = runs_of_seeds(command.run)
    if command.figure is not None and len(runs) > 1:
        raise UserError(f"--figure draws one run, and {str(command.run)!r} holds {len(runs)}: name one of them")
    curves, config = [], None
    for run in runs:
        with closing(load(run, best=command.checkpoint == "best", modules=typed_modules((), command.imports))) as model:
            if command.figure is not None:
                _save(_figure(model, command), command.figure)
            curves.append(adaptation_curve(model, command.steps, tasks, command.episodes, command.seed))
            config = model.config
    curve = curves[0] if len(curves) == 1 else over_seeds(curves)
    if command.json is not None:  # first: whoever reads the table may be gone
        by_run = {run.name: of_run for run, of_run in zip(runs, curves, strict=True)}
        write_json(command.json, curve.as_dict() if len(curves) == 1 else seeds_as_dict(curve, by_run))
    about = "" if command.task else "held-out ", len(runs), len(curves[0].per_task)
    assert config is not None  # of one run at least
    show_curve(plain_console(), curve, config, *about)
    return 0


def _figure(model: Model | FewShot, command: Eval) -> Figure:
    """Draw adaptation itself: the sine waves fitted, or in 2-D navigation the beliefs, or else the paths."""
    if isinstance(model, VariBAD):
        return plot_beliefs(model, command.steps, seed=command.seed)
    if isinstance(model, Model):
        return plot_paths(model, command.steps, seed=command.seed)
    steps = tuple(sorted({0, min(1, command.steps), command.steps}))
    return plot_sines(model, steps, seed=command.seed)


def plot(args: list[str]) -> int:
    """Draw learning and adaptation curves of runs."""
    command: Plot = parse(Plot, args, "metarl plot")
    if not command.runs:
        raise UserError("plot needs a run directory or several")
    chosen = {field.name: getattr(command, field.name) for field in fields(Look)}
    usual = ".pdf" if command.style == "paper" else ".png"
    out = command.out or Path(f"runs{usual}")
    out = output_file(out if out.suffix else out.with_suffix(usual))
    _save(plot_runs(command.runs, Look(**chosen)), out)
    return 0


def _save(figure: Figure, out: Path) -> None:
    """Write a figure in the format that the file's ending says."""
    try:
        drawn = as_file(figure, out.suffix)
    except ValueError as error:
        raise UserError(f"cannot write {str(out)!r}: {error}") from error
    write_atomically(out, drawn)
    print(f"wrote {named(out)}")


def video(args: list[str]) -> int:
    """Film a task before and after adaptation."""
    command: Video = parse(Video, args, "metarl video")
    out = output_file(
        command.out or (command.run / "adaptation.gif" if command.run.is_dir() else Path("adaptation.gif"))
    )
    check_film(out)
    with closing(load(command.run, modules=typed_modules((), command.imports))) as model:
        if isinstance(model, FewShot):
            raise UserError(f"nothing to film: {command.run} is a run on {model.config.data}")
        frames, fps = film_adaptation(model.trainer, command.task or None, command.steps, command.seed)
    write_film(frames, fps, out)
    print(f"wrote {named(out)}")
    if command.run.is_dir() and os.access(command.run, os.W_OK):
        log_film(frames, fps, command.run, model.trainer.progress.env_steps)
        print(f"and into TensorBoard: tensorboard --logdir {command.run} (Images, pictures/film)")
    return 0


def export(args: list[str]) -> int:
    """Write an adapted policy as a model of stable-baselines3's PPO."""
    command: Export = parse(Export, args, "metarl export")
    kind, out = command.to
    if kind != "sb3":
        raise UserError(f"unknown format {kind!r}; export writes sb3, given as --to sb3 FILE")
    out = output_file(out if out.suffix else out.with_suffix(".zip"))
    with closing(load(command.run, modules=typed_modules((), command.imports))) as model:
        if isinstance(model, FewShot):
            raise UserError(f"PPO takes policies only; {command.run} is of {model.config.title}")
        if not command.task and command.steps != 0 and not model.config.method.remembers:
            raise UserError("export adapts to a task: give --task T, or --steps 0 for the policy before adaptation")
        model.export_sb3(out, command.task or None, command.steps, command.seed)
    print(f"wrote {named(out)}: stable_baselines3.PPO.load reads it; its value network is untrained")
    return 0


def analyse(args: list[str]) -> int:
    """Show what adaptation changes, layer by layer."""
    command: Analyse = parse(Analyse, args, "metarl analyse")
    is_run = command.run.is_dir()
    out = command.out or (command.run / "analysis.png" if is_run else Path("analysis.png"))
    out = output_file(out if out.suffix else out.with_suffix(".png"))
    if out.suffix == ".json":
        raise UserError(f"{str(out)!r} is where the numbers go; give a picture's name, .png say")
    output_file(out.with_suffix(".json"))
    paths = [command.run]
    if command.along:
        directory = RunDirectory(command.run)
        directory.check_holds_run()
        paths = directory.checkpoints()
    if command.along and len(paths) < 2:
        raise UserError(f"{command.run} holds no checkpoints along training; train with --keep-checkpoints 20, say")
    found, steps = [], 0
    for path in paths:
        with closing(load(path, modules=typed_modules((), command.imports))) as model:
            steps = model.trainer.progress.env_steps
            found.append(analyse_model(model, command.steps, command.tasks, command.seed))
    figure = draw_analysis(found)
    _save(figure, out)
    write_json(out.with_suffix(".json"), [analysis.as_dict() for analysis in found])
    if is_run and os.access(command.run, os.W_OK):
        log_figure(figure, command.run, "pictures/layers", steps)
    plain_console().print(analysis_table(found[-1]))
    return 0
