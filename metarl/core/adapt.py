"""The inner loop: gradient steps that adapt the params of every task at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from metarl.core.params import Params, grad

Data = TypeVar("Data")

Rate = float | Mapping[str, Tensor]
"""A step size: one number, or a tensor for each param (`[K, ...]`, one entry for each of its own)."""


def adapt(
    loss: Callable[[Params, Data], Tensor],
    params: Params,
    support: Sequence[Data],
    lr: Rate | Sequence[float],
    *,
    names: Sequence[str] | None = None,
    first_order: bool = False,
    create_graph: bool = True,
) -> Params:
    """Take one gradient step per element of `support`, in every task at once (Finn et al. 2017, equation 1).

    The result depends differentiably on `params`, so the outer update differentiates through
    the inner loop; with `first_order` each step's gradient counts as a constant (FOMAML).

    Args:
        loss: Maps params stacked over tasks `[K, ...]` and data to one loss a task, `[K]`.
        params: Params stacked over tasks, `[K, ...]`.
        support: The data of each step; k elements give k steps.
        lr: Step size: one for all steps, one for each, or one for each param and all steps.
        names: Which params adapt; by default all. Nothing is differentiated with respect to the others.
        first_order: Whether to leave out the second derivatives.
        create_graph: Whether anyone will differentiate the result.

    Returns:
        Adapted params, `[K, ...]`.
    """
    rates: Sequence[Rate] = list(lr) if isinstance(lr, Sequence) else [lr] * len(support)
    chosen = list(params) if names is None else list(names)
    for data, rate in zip(support, rates, strict=True):
        if not create_graph:
            params = {name: value.detach().requires_grad_(name in chosen) for name, value in params.items()}
        total = loss(params, data).sum()  # tasks do not share params, so one sum gives all gradients
        gradients = grad(total, [params[name] for name in chosen], create_graph=create_graph and not first_order)
        sizes = [rate[name] if isinstance(rate, Mapping) else rate for name in chosen]
        steps = {name: params[name] - size * g for name, size, g in zip(chosen, sizes, gradients, strict=True)}
        params = {name: steps.get(name, value) for name, value in params.items()}
    return params if create_graph else {name: value.detach() for name, value in params.items()}
