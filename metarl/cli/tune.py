"""metarl tune: settings searched for by Optuna, and the best of them as a preset file."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from metarl.cli.helpers import Helpers
from metarl.cli.options import Imports
from metarl.cli.output_file import output_file
from metarl.cli.own import typed_method, typed_modules
from metarl.cli.parse import parse
from metarl.cli.search import OUT, Range, Search, value_now, value_of
from metarl.cli.seeds import COMMAND
from metarl.cli.start import name_first, start, title
from metarl.errors import UserError
from metarl.experiment.base_config import Settings
from metarl.experiment.parts import typed_parts
from metarl.experiment.preset_file import stated
from metarl.experiment.settings import field_names, say_brought, with_method, with_settings
from metarl.experiment.signals import Interrupted

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
    """Trainings of the whole study; several processes may end with some more."""
    method: str | None = None
    """Method, a name of ours or module:Class; by default the preset's."""
    iterations: int | None = None
    """Meta-iterations of a trial, by default the preset's."""
    horizon: int | None = None
    """Longest episode, in steps; by default the preset's."""
    search: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A setting and where to search it, NAME=LOW:HIGH or NAME=LOW:HIGH:log; may be repeated. By default those of
    inner_lr, outer_lr, max_kl, step_size, clip, inner_kl, discount and gae_lambda that the run has."""
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
    imports: Imports = ()
    """Module of yours that holds what a file of settings names; may be repeated."""
    job: tyro.conf.Suppress[int] = 0
    """Which of several processes this is; the first begins the others."""

    @property
    def own_horizon(self) -> dict[str, int]:
        """The longest episode, as a setting, if it is typed."""
        return {} if self.horizon is None else {"horizon": self.horizon}


def tune(args: list[str]) -> int:
    """Search for settings, and write the best."""
    name, rest = name_first("tune", args)
    job, rest = (int(rest[-1]), rest[:-2]) if rest[-2:-1] == ["--job"] else (0, rest)  # of ours: no option of the help
    command: Tune = dataclasses.replace(parse(Tune, rest, f"metarl tune {name}"), job=job)
    modules = typed_modules([name, command.method or ""], command.imports)
    config = _configured(name, command, modules)
    space, parts = _space(config, command.search), typed_parts(config.named_parts, modules)
    if command.trials < 1 or command.jobs < 1:
        raise UserError(f"trials and jobs must be at least 1, got {command.trials} and {command.jobs}")
    if command.seed < 0:
        raise UserError(f"seed must be at least 0, got {command.seed}")
    if command.jobs > 1 and command.storage is None:
        raise UserError("several jobs share a study by its storage: give --storage sqlite:///tune.db, say")
    if command.out.suffix != ".json":
        raise UserError(f"the preset file is written as JSON: its name must end in .json, got {str(command.out)!r}")
    output_file(command.out)
    try:
        import optuna
    except ImportError as error:
        raise UserError("tune needs Optuna: pip install 'metarl-toolkit[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _study(optuna, name, command)
    if command.out.exists() and not command.job and study.user_attrs.get(OUT) != str(command.out.absolute()):
        raise UserError(f"{command.out} exists; choose another --out")
    search = Search(optuna, study, name, command, config, space, parts, modules)
    others = [[*COMMAND, "tune", name, *rest, "--job", str(job)] for job in range(1, command.jobs)]
    try:
        with Helpers([] if command.job else others):
            search.run()
    except Interrupted as stop:
        if not command.job:
            stop.outcome = search.left()
            raise
        return stop.exit_status  # the first process tells
    return 0 if command.job else search.finish()


def _configured(name: str, command: Tune, modules: tuple[str, ...]) -> Settings:
    """Return the configuration that the trials change."""
    config, method = start(name, modules), command.method
    own = typed_method(method, config) if method is not None and ":" in method else method
    typed = {text.partition("=")[0].replace("-", "_") for text in command.search}
    keep = stated(name) | typed | ({"iterations"} if command.iterations is not None else set())
    chosen = with_method(config, own, keep=keep)
    if not command.job and (changed := say_brought(config, chosen, keep)):
        print(f"metarl: {changed}")
    chosen = with_settings(chosen, command.own_horizon)
    chosen.check_heeded()
    return chosen


def _space(config: Settings, typed: tuple[str, ...]) -> dict[str, Range]:
    """Return what is searched: the settings of the default that the configuration has, or those typed."""
    method: Any = config.method
    own = field_names(config) | field_names(method)
    own |= field_names(method.outer) if "outer" in own else set()
    if not typed:  # what is switched off stays so
        return {name: ends for name, ends in SPACES.items() if name in own and value_now(config, name) is not None}
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
        # which knows the nearest name
        with_settings(config, {name: value_of(config, name, space[name][0])}).check_heeded()
    return space


def _study(optuna: Any, name: str, command: Tune) -> Any:
    """Return the study, begun or gone on with."""
    pruners = {"median": optuna.pruners.MedianPruner, "hyperband": optuna.pruners.HyperbandPruner}
    try:
        study = optuna.create_study(
            study_name=command.study or "-".join(filter(None, (title(name), command.method))),
            storage=command.storage,
            pruner=pruners.get(command.pruner, optuna.pruners.NopPruner)(),
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # of a kind that the database has
        if command.storage is None:
            raise
        form = "" if "://" in command.storage else ", its form is sqlite:///tune.db"
        why = str(error).partition("\n")[0]
        raise UserError(f"storage {command.storage!r} cannot be used{form}: {why}") from error
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    if command.sampler == "qmc":  # processes share its sequence by the study
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.QMCSampler(seed=command.seed)
    else:  # a study that goes on and a further process would else draw again what has been tried
        seeds = np.random.SeedSequence([command.seed, command.job, len(study.trials)])
        study.sampler = samplers[command.sampler](seed=int(seeds.generate_state(1)[0]))
    return study
