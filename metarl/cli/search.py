"""The trials of `metarl tune`: each a training, and the best of them a preset file."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from metarl.cli.console import plain_console
from metarl.cli.own import imports
from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment.base_config import Settings
from metarl.experiment.callbacks import Callback
from metarl.experiment.checkpoint import write_json
from metarl.experiment.config_file import as_dict
from metarl.experiment.parts import Parts
from metarl.experiment.preset_file import SEARCHED, is_preset_file
from metarl.experiment.presets import PRESETS
from metarl.experiment.run import train
from metarl.experiment.settings import with_settings
from metarl.experiment.signals import Interrupted
from metarl.experiment.trainer import Trainer

if TYPE_CHECKING:
    from metarl.cli.tune import Tune

OUT = "out"
"""What a study knows its file by, which it replaces when it goes on."""

Range = tuple[float, float, bool]
"""The ends of a search, and whether it is on a logarithmic scale."""


def value_now(config: Settings, name: str) -> Any:
    """Return what a setting is now, of the run, its method or its outer update."""
    method: Any = config.method
    return next((getattr(thing, name) for thing in (config, method, method.outer) if hasattr(thing, name)), 0.0)


def value_of(config: Settings, name: str, value: float) -> int | float:
    """Return a value as the setting has it: a whole number where it is one now."""
    now = value_now(config, name)
    return round(value) if isinstance(now, int) and not isinstance(now, bool) else value


@dataclasses.dataclass(frozen=True)
class Search:
    """A study, and what its trials change."""

    optuna: Any
    study: Any
    name: str
    """What was typed where a command says PRESET."""
    command: Tune
    config: Settings
    space: dict[str, Range]
    parts: Parts
    modules: tuple[str, ...]
    """Modules of the user's that were typed."""

    @property
    def states(self) -> tuple[Any, Any]:
        """The states of trials that count: complete, and pruned."""
        return self.optuna.trial.TrialState.COMPLETE, self.optuna.trial.TrialState.PRUNED

    def run(self) -> None:
        """Take part in the study until it has its trials."""
        enough = self.optuna.study.MaxTrialsCallback(self.command.trials, states=self.states)
        console = plain_console()

        def report(study: Any, trial: Any) -> None:
            shown = ", ".join(f"{name} {self._shown(name, value)}" for name, value in trial.params.items())
            score = "pruned" if trial.value is None else f"{trial.value:.4g}"
            console.print(f"trial {trial.number}: {score}  ({shown})", soft_wrap=not console.is_terminal)

        done = len(self.study.get_trials(states=self.states))
        if done < self.command.trials:
            self.study.optimize(self._trial, n_trials=self.command.trials - done, callbacks=[report, enough])

    def _trial(self, trial: Any) -> float:
        """Train with settings that the trial draws; returns what they reach."""
        drawn = {
            n: value_of(self.config, n, trial.suggest_float(n, low, high, log=log))
            for n, (low, high, log) in self.space.items()
        }
        if self.command.iterations is not None:
            drawn["iterations"] = self.command.iterations
        trainer = Trainer(with_settings(self.config, drawn), self.parts)
        report = _Report(self.optuna, trial, bool(self.command.job))
        try:
            train(trainer, trainer.config.iterations, callbacks=[report])
        except FloatingPointError as error:  # settings under which learning breaks down
            raise self.optuna.TrialPruned(str(error)) from error
        finally:
            trainer.close()
        return report.score

    def left(self) -> str:
        """Return what is left of a search that was stopped; without a storage, what is best so far is written."""
        done = len(self.study.get_trials(states=self.states))
        if self.command.storage is not None:
            return f"{self.command.storage} keeps its {done} finished trials, and the same command goes on"
        if not self.study.get_trials(states=self.states[:1]):
            return "no trial was finished"
        self.finish()
        return f"the best of its {done} finished trials is in {self.command.out}"

    def finish(self) -> int:
        """Print the best trials, and write the best as a preset file."""
        complete = self.study.get_trials(states=self.states[:1])
        if not complete:
            raise UserError("no trial was finished; give --pruner none, or another --search")
        complete.sort(key=lambda trial: -trial.value)
        best = complete[:5]
        table = Table("trial", *(str(trial.number) for trial in best))
        table.add_row("held-out", *(f"{trial.value:.4g}" for trial in best), end_section=True)
        for n in self.space:
            table.add_row(n, *(self._shown(n, trial.params[n]) if n in trial.params else "" for trial in best))
        console, out = plain_console(), self.command.out
        console.print(table)
        console.print(f"searched: {', '.join(self._searched)}")
        chosen = {n: value_of(self.config, n, value) for n, value in complete[0].params.items()}
        write_json(out, self._preset(chosen))
        self.study.set_user_attr(OUT, str(out.absolute()))
        again = f"metarl train {out}{imports(self.modules)}"
        console.print(f"wrote {out}; train with it: {again}", soft_wrap=True)
        flatters = "the settings were selected on these tasks, so their score flatters"
        console.print(f"{flatters}: report 'metarl eval', which draws others")
        return 0

    def _shown(self, name: str, value: float) -> str:
        return f"{value_of(self.config, name, value):.4g}"

    def _preset(self, best: dict[str, Any]) -> dict[str, Any]:
        """Return a file's settings: what was typed, the best of what was searched, and where that was."""
        begin: dict[str, Any] = {self._kind: self.name}
        if from_file := is_preset_file(self.name):
            text = Path(self.name).read_text(encoding="utf-8")
            begin = json.loads(text) if self.name.endswith(".json") else tomllib.loads(text)
        if "config" in begin or (from_file and self.command.method is not None):
            # a run's own settings, or those of another method than the file's, which suit this one
            return {"config": as_dict(with_settings(self.config, best)), SEARCHED: self._searched}
        method = {} if self.command.method is None else {"method": self.command.method}
        return {**begin, **method, **self.command.own_horizon, **best, SEARCHED: self._searched}

    @property
    def _searched(self) -> list[str]:
        """What was searched, as `--search` takes it."""
        return [f"{name}={low}:{high}{':log' * log}" for name, (low, high, log) in self.space.items()]

    @property
    def _kind(self) -> str:
        """What the name stands for in a file of settings."""
        return "preset" if self.name in PRESETS else "env" if self.config.plays_episodes else "data"


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
