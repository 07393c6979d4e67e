"""Adaptation curves of runs that differ in their seed alone, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metarl.errors import UserError, few
from metarl.evaluation import AdaptationCurve, filled_success
from metarl.experiment.run_files import RunFiles
from metarl.report.run_groups import groups_of


def runs_of_seeds(path: Path) -> list[Path]:
    """Return the runs in a folder such as `train --seeds` makes; of anything else, the path itself.

    Raises:
        UserError: If they differ in more than their seed.
    """
    if not path.is_dir() or RunFiles(path).holds_run or not any(path.glob("*/config.json")):
        return [path]
    groups = groups_of([path])
    if len(groups) > 1:
        named = few([str(group.paths[0]) for group in groups])
        raise UserError(f"the runs in {str(path)!r} differ in more than their seed; name one of them: {named}")
    return groups[0].paths


def over_seeds(curves: Sequence[AdaptationCurve]) -> AdaptationCurve:
    """Return a curve that has seeds in place of tasks: each one's mean, and so the interval over them."""
    means, success = ([getattr(curve, name) for curve in curves] for name in ("per_task", "success"))
    solved = [values.mean(0) for values in filled_success(success, means)]
    return replace(
        curves[0],
        per_task=np.stack([curve.mean for curve in curves]),
        success=np.stack(solved) if solved else None,
        env_steps=sum(curve.env_steps for curve in curves),
        dropped=sum(curve.dropped for curve in curves),
        tasks=None,
        change={},
    )


def seeds_as_dict(whole: AdaptationCurve, curves: Mapping[str, AdaptationCurve]) -> dict[str, Any]:
    """Return the curve over seeds as JSON takes it, with the seeds' means `by_seed` and under `runs` each one's own."""
    record = whole.as_dict()
    for part in (record, record.get("success", {})):
        if "per_task" in part:
            part["by_seed"] = part.pop("per_task")
    return record | {"runs": {name: curve.as_dict() for name, curve in curves.items()}}
