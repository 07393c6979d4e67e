"""The inner steps of a method: one of them where data are played, all of them where they are differentiated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from metarl.core.params import Params, in_parts, index, rows_by
from metarl.methods.protocols import Loss, Method
from metarl.threads import threads_for


def adapt_once(
    method: Method,
    loss: Loss,
    adapted: Params,
    support: Any,
    number: int,
    later_lr: float,
    device: str,
    at_once: Callable[[Any], int] = len,
) -> Params:
    """Return the params after an inner step, `[K, ...]` on the CPU; nobody will differentiate them.

    Args:
        method: The method.
        loss: Inner losses `[K]`.
        adapted: Params stacked over tasks, `[K, ...]`.
        support: The data of the step.
        number: Which step it is, 0 the first.
        later_lr: Factor on the step size beyond the steps that the method trains with.
        device: Where to compute.
        at_once: How many tasks of data to compute together.
    """
    scale = 1.0 if number < method.inner_steps else later_lr
    lengths = rows_by(support.spans)
    groups = [
        (length, part)
        for length, rows in lengths.items()
        for part in in_parts(rows, at_once(support.select_tasks(rows).at_length(length)))
    ]
    parts = []
    for length, rows in groups:
        whole = len(groups) == 1
        data = (support if whole else support.select_tasks(rows)).at_length(length)
        moved = {name: (value if whole else value[index(rows)]).to(device) for name, value in adapted.items()}
        with threads_for(len(rows)):
            moved = method.inner_step(loss, moved, data, scale)
        parts.append({name: value.cpu() for name, value in moved.items()})
    order = torch.tensor([row for _, rows in groups for row in rows]).argsort()
    return parts[0] if len(parts) == 1 else {name: torch.cat([p[name] for p in parts])[order] for name in parts[0]}


def adaptation_path(
    method: Method, loss: Loss, stacked: Params, support: Sequence[Any], *, create_graph: bool
) -> list[Params]:
    """Return the params `[K, ...]` before and after each inner step on the data given.

    Args:
        method: The method.
        loss: Inner losses `[K]`.
        stacked: Meta-params, the same for each task, `[K, ...]`.
        support: The data of each inner step.
        create_graph: Whether the outcome is to be differentiated with respect to the meta-params.
    """
    path = [stacked]
    for data in support:
        path.append(method.inner_step(loss, path[-1], data, create_graph=create_graph))
    return path
