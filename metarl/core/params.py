"""Parameters as dictionaries of tensors; the copies of K tasks carry a leading dimension K."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Params = dict[str, Tensor]

Key = TypeVar("Key", bound=Hashable)


def params_of(module: nn.Module) -> Params:
    """Return a detached copy of a module's parameters."""
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def flatten(tensors: Iterable[Tensor]) -> Tensor:
    """Return the tensors as one vector `[P]`."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def flatten_stacked(tensors: Iterable[Tensor]) -> Tensor:
    """Return tensors stacked over tasks `[K, ...]` as one vector a task, `[K, P]`."""
    return torch.cat([tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None] for tensor in tensors], dim=1)


def unflatten(vector: Tensor, like: Params) -> Params:
    """Cut a vector `[P]` into the names and shapes of `like` (views of the vector)."""
    pieces = vector.split([value.numel() for value in like.values()])
    return {name: piece.view_as(value) for (name, value), piece in zip(like.items(), pieces, strict=True)}


def of_part(prefix: str, params: Params) -> Params:
    """Return the params of a part of a network, by their names in it; `prefix` is that of their names in the whole."""
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


def each_tensor(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Return a dataclass of tensors, or of such dataclasses, with a function applied to each tensor; the rest stays."""
    if isinstance(value, Tensor):
        return change(value)
    if not hasattr(value, "__dataclass_fields__"):  # is_dataclass would narrow the type
        return value
    return replace(value, **{f.name: each_tensor(change, getattr(value, f.name)) for f in fields(value)})


def rows_by(keys: Iterable[Key]) -> dict[Key, list[int]]:
    """Return the rows of each key, such as the tasks whose data have one shape."""
    rows: dict[Key, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return rows


def in_parts(rows: Sequence[int], at_once: int) -> list[list[int]]:
    """Cut rows into parts of about so many at most, whose sizes differ by at most one; none is alone unless all are.

    What computes a lone task may round in another way than what computes several.
    """
    number = -(-len(rows) // max(at_once, 1))
    if at_once > 1:
        number = max(min(number, len(rows) // 2), 1)
    ends = [len(rows) * i // number for i in range(number + 1)]
    return [list(rows[start:end]) for start, end in pairwise(ends)]


def index(rows: Sequence[int]) -> slice | list[int]:
    """Return what picks rows out of a tensor: a slice, which copies nothing, where they follow one another."""
    rows = list(rows)
    if rows and rows == list(range(rows[0], rows[0] + len(rows))):
        return slice(rows[0], rows[0] + len(rows))
    return rows


def stack(params: Params, tasks: int) -> Params:
    """Give each of K tasks the same params: views `[K, ...]` whose gradients add up in the original."""
    return {name: value.expand(tasks, *value.shape) for name, value in params.items()}


def grad(loss: Tensor, inputs: Sequence[Tensor], *, create_graph: bool = False) -> tuple[Tensor, ...]:
    """Return the gradients of a scalar, zeros where it does not depend on an input."""
    return torch.autograd.grad(loss, inputs, create_graph=create_graph, allow_unused=True, materialize_grads=True)


def pull_back(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Return J'u, the gradient of `outputs` times vectors shaped as they are; constant outputs add nothing."""
    moving = [(out, vector) for out, vector in zip(outputs, vectors, strict=True) if out.requires_grad]
    return torch.autograd.grad(
        *([out for out, _ in moving], inputs, [vector for _, vector in moving]),
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )


def forward_derivative(outputs: Sequence[Tensor], inputs: Sequence[Tensor]):
    """Build v -> Jv, the derivative of `outputs` with respect to `inputs`, from two reverse passes.

    The derivative of u -> J'u along v is Jv; the graph of J'u is built once and used for every v.
    Outputs must keep their graph; that of one which depends on nothing is zero.

    Returns:
        A function from vectors shaped as `inputs` to vectors shaped as `outputs`.
    """
    dummies = [torch.zeros_like(out, requires_grad=True) for out in outputs]
    pulled = pull_back(outputs, inputs, dummies, create_graph=True)

    def product(vectors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            pulled, dummies, vectors, retain_graph=True, allow_unused=True, materialize_grads=True
        )

    return product
