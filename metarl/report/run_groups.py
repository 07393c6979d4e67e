"""Runs that differ in their seed alone, as one group: what figures of runs are made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.experiment.config_file import FREE, flat
from metarl.experiment.outputs import read_rows
from metarl.experiment.run_files import RunFiles

MEASURES = ("return", "loss", "accuracy")
"""What a run may measure."""

UNCOMPARED = {"seed", *FREE}
"""Settings in which runs of one group may differ."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    title: str
    """What the tasks are."""
    method: str
    """Name of the method."""
    paths: list[Path]
    """Run directories."""
    steps: int | None = None
    """Steps of adaptation trained with, by which a run chooses its best params; None where its settings do not say."""

    @property
    def name(self) -> str:
        """The folder that holds the runs, or that of the only one."""
        first = self.paths[0].absolute()
        return first.name if len(self.paths) == 1 else first.parent.name


def run_directories(paths: Sequence[Path]) -> list[Path]:
    """Return the run directories among paths, each of which is one or holds some, without repetitions.

    Raises:
        UserError: If a path neither is one nor holds any.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path]
        if not RunFiles(path).holds_run and path.is_dir():
            inside = sorted(file.parent for file in path.glob("*/config.json")) or [path]
        for directory in inside:
            RunFiles(directory).check_holds_run()
            found.setdefault(directory.resolve(), directory)
    return list(found.values())


def groups_of(paths: Sequence[Path]) -> list[Group]:
    """Return run directories in groups of runs that differ in their seed alone, in the order in which they come.

    Raises:
        UserError: If a directory holds no run or a damaged one, or the runs are of several environments.
    """
    groups: dict[str, Group] = {}
    for path in run_directories(paths):
        config, title, method = _settings(path)
        compared = {name: value for name, value in flat(config).items() if name not in UNCOMPARED}
        key = json.dumps(compared, sort_keys=True)
        groups.setdefault(key, Group(title, method, [], _trained_steps(config))).paths.append(path)
    titles = sorted({group.title for group in groups.values()})
    if len(titles) > 1:
        raise UserError(f"the runs must be of one environment, these are of {', '.join(titles)}")
    return list(groups.values())


def _settings(path: Path) -> tuple[dict[str, Any], str, str]:
    """Return a run's settings, what its tasks are, and its method's name; whose class nobody need give."""
    directory = RunFiles(path)
    name = directory.method_name()
    if name is None or ":" not in name:
        title = directory.config().title  # which says what is damaged
    else:
        title = ""
    config = json.loads(directory.config_file.read_text())["config"]
    return config, title or str(config.get("env", config.get("data"))), str(name or config["method"]["name"])


def _trained_steps(config: dict[str, Any]) -> int | None:
    """Return the inner steps of a run's method, or the episodes of a lifetime that others follow, if it has either."""
    method = config.get("method")
    for name, first in (("inner_steps", 0), ("lifetime", 1)):
        if isinstance(method, dict) and isinstance(found := method.get(name), int):
            return found - first
    return None


def labels_of(groups: Sequence[Group]) -> list[str]:
    """Return a name for each group: of its method where that tells them apart, else of its folder."""
    for names in ([g.method for g in groups], [g.name for g in groups], [str(g.paths[0]) for g in groups]):
        if len(set(names)) == len(names):
            break
    return [f"{n} ({len(g.paths)} seeds)" if len(g.paths) > 1 else n for n, g in zip(names, groups, strict=True)]


def read_progress(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read a run's `progress.csv`, column by column; values that are missing are NaN.

    Raises:
        UserError: If there is none or it is damaged.
    """
    file = path / "progress.csv"
    if not file.exists():
        raise UserError(f"{str(path)!r} holds no progress.csv")
    rows = [row for row in read_rows(file) if "time/iterations" in row]
    if not rows:
        raise UserError(f"{str(file)!r} is empty or damaged")
    names = dict.fromkeys(name for row in rows for name in row)
    table = {name: np.array([row.get(name, np.nan) for row in rows], dtype=np.float64) for name in names}
    if "time/total_timesteps" not in table or not any(f"meta/{measure}_step0" in table for measure in MEASURES):
        raise UserError(f"{str(file)!r} is no table of a run: it lacks the steps, or what was reached")
    if "time/total_seconds" not in table:  # an older version's, which knew those of each row alone
        parts = [table.get(f"time/{name}_seconds", np.zeros(len(rows))) for name in ("sampling", "meta_update")]
        table["time/total_seconds"] = np.nancumsum(np.sum(parts, axis=0))
    return table


def read_curve(path: Path, measure: str | None = None) -> AdaptationCurve | None:
    """Read the adaptation curve of a run's last evaluation, if it has been evaluated.

    Args:
        path: Run directory.
        measure: `success` for the curve of the success; else what the run learned by.

    Raises:
        UserError: If the file is damaged.
    """
    file = path / "curve.json"
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text())
        tasks = found.get("tasks")
        if measure == "success":
            if "success" not in found:  # told in no episode of the last evaluation
                return None
            found = found["success"]
        per_task, what = np.array(found["per_task"], dtype=np.float64), found.get("measure", "return")
        if per_task.ndim != 2 or not per_task.size:
            raise ValueError(f"per_task is {per_task.shape}, not tasks by steps")
        texts = (found["env"], found["unit"], what)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"env, unit and measure are {texts}")
        per_step = found.get("episodes_per_step")
        per_step = None if per_step is None else int(per_step)
        return AdaptationCurve(
            found["env"],
            per_task,
            int(found["env_steps"]),
            unit=found["unit"],
            measure=what,
            episodes_per_step=per_step,
            tasks=_as_tasks(tasks, len(per_task)),
        )
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be read: {error.strerror}") from error
    except (AttributeError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{str(file)!r} is damaged ({error})") from error


def _as_tasks(recorded: Any, number: int) -> NDArray[Any] | None:
    """Return the tasks of a curve `[tasks, d]`, if it tells them, which older ones do not."""
    if recorded is None:
        return None
    tasks = np.array(recorded, dtype=np.float64)
    if tasks.ndim != 2 or len(tasks) != number:
        raise ValueError(f"tasks is {tasks.shape}, not {number} tasks by their size")
    return tasks
