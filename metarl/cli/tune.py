"""metarl tune: settings searched for by Optuna, and the best of them as a preset file."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from metarl.cli.helpers import Helpers
from metarl.cli.parse import parse
from metarl.cli.seeds import COMMAND
from metarl.cli.start import start, title
from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment.base_config import Settings
from metarl.experiment.callbacks import Callback
from metarl.experiment.config_file import as_dict
from metarl.experiment.preset_file import is_preset_file
from metarl.experiment.presets import PRESETS
from metarl.experiment.run import train
from metarl.experiment.settings import with_method, with_settings
from metarl.experiment.signals import Interrupted
from metarl.experiment.trainer import Trainer

Range = tuple[float, float, bool]
"""The ends of a search, and whether it is on a logarithmic scale."""

SPACES: dict[str, Range] = {
    "inner_lr": (0.01, 1.0, True),
    "max_kl": (0.003, 0.1, True),
    "outer_lr": (1e-4, 1e-2, True),
    "step_size": (0.05, 1.0, True),
    "clip": (0.05, 0.4, False),
    "inner_kl": (1e-4, 1e-1, True),
    "discount": (0.9, 0.999, False),
    "gae_lambda": (0.8, 1.0, False),
}
"""What is searched by default: of these, the settings that the run, its method and its outer update have."""


@dataclasses.dataclass(frozen=True)
class Tune:
    """Search for settings by Optuna; the best of them become a preset file, which `metarl train` takes."""

    trials: int = 20
    """Trainings of the whole study."""
    method: str | None = None
    """Method, by default the preset's."""
    iterations: int | None = None
    """Meta-iterations of a trial, by default the preset's."""
    search: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A setting and where to search it, NAME=LOW:HIGH or NAME=LOW:HIGH:log; may be repeated. By default inner_lr,
    the outer update's step size, and in environments discount and gae_lambda."""
    sampler: Literal["tpe", "random", "qmc"] = "tpe"
    """Optuna's sampler."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Optuna's pruner, which ends trials that fall behind at an evaluation on held-out tasks."""
    storage: str | None = None
    """Where the study is kept, such as sqlite:///tune.db: it can be gone on with, and shared by processes."""
    study: str | None = None
    """Name of the study; by default the preset's and the method's."""
    jobs: int = 1
    """Processes that search at once, by the storage."""
    seed: int = 0
    """Seed of the sampler; the runs have the preset's."""
    out: Path = Path("best.json")
    """Where to write the preset file."""
    job: tyro.conf.Suppress[int] = 0
    """Which of several processes this is; the first begins the others."""


def tune(args: list[str]) -> int:
    """Search for settings, and write the best."""
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        raise UserError("tune needs a preset or an environment first; 'metarl presets' lists the presets")
    name, rest = ("PRESET", ["--help"]) if args[0] in ("-h", "--help") else (args[0], args[1:])
    job, rest = (int(rest[-1]), rest[:-2]) if rest[-2:-1] == ["--job"] else (0, rest)  # of ours: no option of the help
    command: Tune = dataclasses.replace(parse(Tune, rest, f"metarl tune {name}"), job=job)
    config = _configured(name, command)
    space = _space(config, command.search)
    if command.trials < 1 or command.jobs < 1:
        raise UserError(f"trials and jobs must be at least 1, got {command.trials} and {command.jobs}")
    if command.seed < 0:
        raise UserError(f"seed must be at least 0, got {command.seed}")
    if command.jobs > 1 and command.storage is None:
        raise UserError("several jobs share a study by its storage: give --storage sqlite:///tune.db, say")
    if command.out.exists() and not command.job:
        raise UserError(f"{command.out} exists; choose another --out")
    try:
        import optuna
    except ImportError as error:
        raise UserError("tune needs Optuna: pip install 'metarl-toolkit[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _study(optuna, name, command)
    others = [[*COMMAND, "tune", name, *rest, "--jobs", "1", "--job", str(job)] for job in range(1, command.jobs)]
    try:
        with Helpers(others):
            _search(optuna, study, command, config, space)
    except Interrupted as stop:
        if not command.job:
            stop.outcome = _left(optuna, study, name, command, config, space)
            raise
        return stop.exit_status  # the first process tells
    return 0 if command.job else _finish(optuna, study, name, command, config, space)


def _configured(name: str, command: Tune) -> Settings:
    """Return the configuration that the trials change."""
    config = with_method(start(name), command.method)
    return config if command.iterations is None else dataclasses.replace(config, iterations=command.iterations)


def _space(config: Settings, typed: tuple[str, ...]) -> dict[str, Range]:
    """Return what is searched: the settings of the default that the configuration has, or those typed."""
    method: Any = config.method
    own = {f.name for thing in (config, method, method.outer) for f in dataclasses.fields(thing)}
    if not typed:
        return {name: ends for name, ends in SPACES.items() if name in own}
    space = {}
    for text in typed:
        name, _, ends = text.partition("=")
        name, (low, high, *log) = name.replace("-", "_"), [*ends.split(":"), ""][:3]
        try:
            space[name] = (float(low), float(high), log == ["log"])
        except ValueError as error:
            raise UserError(f"search takes NAME=LOW:HIGH or NAME=LOW:HIGH:log, got {text!r}") from error
        if not space[name][0] < space[name][1] or (space[name][2] and space[name][0] <= 0):
            raise UserError(f"search needs LOW < HIGH, and LOW > 0 on a logarithmic scale, got {text!r}")
        with_settings(config, {name: _value(config, name, space[name][0])})  # which knows the nearest name
    return space


def _value(config: Settings, name: str, value: float) -> int | float:
    """Return a value as the setting has it: a whole number where it is one now."""
    method: Any = config.method
    now = next((getattr(thing, name) for thing in (config, method, method.outer) if hasattr(thing, name)), 0.0)
    return round(value) if isinstance(now, int) and not isinstance(now, bool) else value


def _study(optuna: Any, name: str, command: Tune) -> Any:
    """Return the study, begun or gone on with."""
    pruners = {"median": optuna.pruners.MedianPruner, "hyperband": optuna.pruners.HyperbandPruner}
    study = optuna.create_study(
        study_name=command.study or "-".join(filter(None, (title(name), command.method))),
        storage=command.storage,
        pruner=pruners.get(command.pruner, optuna.pruners.NopPruner)(),
        direction="maximize",
        load_if_exists=True,
    )
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    if command.sampler == "qmc":  # processes share its sequence by the study
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.QMCSampler(seed=command.seed)
    else:  # a study that goes on and a further process would else draw again what has been tried
        seeds = np.random.SeedSequence([command.seed, command.job, len(study.trials)])
        study.sampler = samplers[command.sampler](seed=int(seeds.generate_state(1)[0]))
    return study


def _search(optuna: Any, study: Any, command: Tune, config: Settings, space: dict[str, Range]) -> None:
    """Take part in the study until it has its trials."""
    states = _finished(optuna)
    enough = optuna.study.MaxTrialsCallback(command.trials, states=states)
    console = Console(highlight=False, soft_wrap=True)

    def objective(trial: Any) -> float:
        drawn = {
            n: _value(config, n, trial.suggest_float(n, low, high, log=log)) for n, (low, high, log) in space.items()
        }
        trainer = Trainer(with_settings(config, drawn))
        report = _Report(optuna, trial, bool(command.job))
        try:
            train(trainer, config.iterations, callbacks=[report])
        except FloatingPointError as error:  # settings under which learning breaks down
            raise optuna.TrialPruned(str(error)) from error
        finally:
            trainer.close()
        return report.score

    def told(study: Any, trial: Any) -> None:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in trial.params.items())
        score = "pruned" if trial.value is None else f"{trial.value:.4g}"
        console.print(f"trial {trial.number}: {score}  ({shown})")

    done = len(study.get_trials(states=states))
    if done < command.trials:
        study.optimize(objective, n_trials=command.trials - done, callbacks=[told, enough])


def _finished(optuna: Any) -> tuple[Any, Any]:
    """Return the states of trials that count."""
    return optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED


class _Report(Callback):
    """Tells Optuna of each evaluation on held-out tasks; a helper whose first process is gone ends."""

    def __init__(self, optuna: Any, trial: Any, helper: bool) -> None:
        self.optuna, self.trial, self.score = optuna, trial, float("-inf")
        self.parent = os.getppid() if helper else None

    def on_start(self, trainer: Trainer) -> None:
        """Take note of the trainer."""
        self.trainer = trainer

    def on_iteration(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """End where nobody is left to help."""
        if self.parent is not None and os.getppid() != self.parent:
            raise Interrupted(signal.SIGTERM)

    def on_evaluation(self, curve: AdaptationCurve) -> None:
        """Report the score after as many steps as training takes; end the trial if it has fallen behind."""
        self.score = curve.score(self.trainer.config.method.inner_steps)
        self.trial.report(self.score, self.trainer.progress.iteration)
        if self.trial.should_prune():
            raise self.optuna.TrialPruned


def _left(optuna: Any, study: Any, name: str, command: Tune, config: Settings, space: dict[str, Range]) -> str:
    """Return what is left of a search that was stopped; without a storage, what is best so far is written."""
    done = len(study.get_trials(states=_finished(optuna)))
    if command.storage is not None:
        return f"{command.storage} keeps its {done} finished trials, and the same command goes on"
    if not study.get_trials(states=_finished(optuna)[:1]):
        return "no trial was finished"
    _finish(optuna, study, name, command, config, space)
    return f"the best of its {done} finished trials is in {command.out}"


def _finish(optuna: Any, study: Any, name: str, command: Tune, config: Settings, space: dict[str, Range]) -> int:
    """Print the best trials, and write the best as a preset file."""
    complete = study.get_trials(states=_finished(optuna)[:1])
    if not complete:
        raise UserError("no trial was finished; give --pruner none, or another --search")
    complete.sort(key=lambda trial: -trial.value)
    table = Table("trial", "held-out", *space)
    for trial in complete[:5]:
        values = [f"{trial.params[n]:.4g}" if n in trial.params else "" for n in space]
        table.add_row(str(trial.number), f"{trial.value:.4g}", *values)
    console = Console(highlight=False)
    console.print(table)
    best = {n: _value(config, n, value) for n, value in complete[0].params.items()}
    begin: dict[str, Any] = {"preset" if name in PRESETS else "env": name}
    if is_preset_file(name):
        begin = json.loads(Path(name).read_text()) if name.endswith(".json") else _toml(Path(name))
    settings = {**begin, **({} if command.method is None else {"method": command.method}), **best}
    if "config" in begin:  # a run's own settings
        settings = {"config": as_dict(with_settings(config, best))}
    command.out.write_text(json.dumps(settings, indent=2) + "\n")
    console.print(f"wrote {command.out}; train with it: metarl train {command.out}", soft_wrap=True)
    console.print(
        "the settings were selected on these tasks, so their score flatters: report 'metarl eval', which draws others"
    )
    return 0


def _toml(file: Path) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(file.read_text())
