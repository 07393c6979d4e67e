"""The inner steps of a method: one of them where data are played, all of them where they are differentiated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metarl.core.params import Params
from metarl.methods.protocols import Loss, Method


def adapt_once(
    method: Method, loss: Loss, adapted: Params, support: Any, number: int, later_lr: float, device: str
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
    """
    moved = {name: value.to(device) for name, value in adapted.items()}
    scale = 1.0 if number < method.inner_steps else later_lr
    moved = method.inner_step(loss, moved, support, scale)
    return {name: value.cpu() for name, value in moved.items()}


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
