"""One gradient step that adapts the params of every task at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from metarl.core.params import Params, grad

Data = TypeVar("Data")

Rate = float | Mapping[str, Tensor]
"""A step size: one number, or a tensor for each param (`[K, ...]`, one entry for each of its own)."""


def gradient_step(
    loss: Callable[[Params, Data], Tensor],
    params: Params,
    support: Data,
    lr: Rate,
    *,
    names: Sequence[str] | None = None,
    first_order: bool = False,
    create_graph: bool = True,
) -> Params:
    """Take one gradient step in every task at once (Finn et al. 2017, equation 1).

    The result depends differentiably on `params`, so the outer update differentiates through
    the inner loop; with `first_order` the step's gradient counts as a constant (FOMAML).

    Args:
        loss: Maps params stacked over tasks `[K, ...]` and data to one loss a task, `[K]`.
        params: Params stacked over tasks, `[K, ...]`.
        support: The data of the step, of K tasks.
        lr: Step size: one number, or one for each param.
        names: Which params adapt; by default all. Nothing is differentiated with respect to the others.
        first_order: Whether to leave out the second derivatives.
        create_graph: Whether anyone will differentiate the result.

    Returns:
        Adapted params, `[K, ...]`.
    """
    chosen = list(params) if names is None else list(names)
    if not create_graph:
        params = {name: value.detach().requires_grad_(name in chosen) for name, value in params.items()}
    total = loss(params, support).sum()  # tasks do not share params, so one sum gives all gradients
    gradients = grad(total, [params[name] for name in chosen], create_graph=create_graph and not first_order)
    sizes = [lr[name] if isinstance(lr, Mapping) else lr for name in chosen]
    steps = {name: params[name] - size * g for name, size, g in zip(chosen, sizes, gradients, strict=True)}
    params = {name: steps.get(name, value) for name, value in params.items()}
    return params if create_graph else {name: value.detach() for name, value in params.items()}
