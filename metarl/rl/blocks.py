"""What the recurrent units share: the lifetimes of all tasks in blocks, time first.

Time is the first dimension inside, so that what a step needs lies together. The lifetimes of all tasks are cut into
blocks of as many, and a step is a batch of products of one shape, a block each: twice as fast as one a task, and still
the rounding of a lifetime does not depend on the lifetimes beside it, nor on their number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of inputs `[K, g h, i]`, of the memory `[K, g h, h]`, and both biases `[K, g h]`, g gates: the same in every task."""

BLOCK = 8
"""Lifetimes of a block."""
NARROWEST = 16
"""Least width of memory and inputs inside: narrower products round a row by its place in the block."""
STEPS_AT_ONCE = 16
"""Steps whose factors of the derivative are computed together: few enough to stay in the processor's cache."""


def rows_for(number: int) -> int:
    """Return in how many rows so many lifetimes lie: a lone block would be rounded differently."""
    return max(-(-number // BLOCK), 2) * BLOCK


def widened(weights: Sequence[Tensor], gates: int) -> Weights:
    """Return the weights of one task, `[g w, j]`, `[g w, w]` and twice `[g w]`, wide enough to be rounded alike.

    The units and inputs added have weights of 0, and stay 0.
    """
    size, width = weights[1].shape[-1], weights[0].shape[-1]
    more = max(NARROWEST - size, 0)

    def units(weight: Tensor) -> Tensor:
        if not more:
            return weight[0]
        return pad(weight[0].unflatten(0, (gates, -1)), [*[0, 0] * (weight.dim() - 2), 0, more]).flatten(0, 1)

    by_input, by_memory, input_bias, memory_bias = map(units, weights)
    return pad(by_input, [0, max(NARROWEST - 1 - width, 0)]), pad(by_memory, [0, more]), input_bias, memory_bias


def with_ones(inputs: Tensor, rows: int, columns: int) -> Tensor:
    """Return inputs `[K, E, L, i]` as `[L, rows, columns + 1]`; the last column is 1: it takes the biases."""
    number, width = inputs.shape[0] * inputs.shape[1], inputs.shape[-1]
    x = inputs.new_zeros(inputs.shape[2], rows, columns + 1)
    x[:, :number, :width] = inputs.flatten(0, 1).transpose(0, 1)
    x[..., -1] = 1.0
    return x


def begun(memory: Tensor, length: int, rows: int, wide: int) -> Tensor:
    """Return room for the memory before and after L steps, `[L + 1, rows, wide]`; the first holds `[K, E, h]`."""
    states = memory.new_empty(length + 1, rows, wide)
    states[0] = 0
    states[0, : memory.shape[0] * memory.shape[1], : memory.shape[-1]] = memory.flatten(0, 1)
    return states


def in_tasks(values: Tensor, tasks: int, episodes: int, width: int) -> Tensor:
    """Return values `[L, rows, w]` as those of the lifetimes, `[K, E, L, width]`."""
    return values[:, : tasks * episodes, :width].transpose(0, 1).unflatten(0, (tasks, episodes))


def by_lifetime(values: Tensor, number: int) -> Tensor:
    """Return values `[L, rows, n]` as `[N, L, n]`, of two lifetimes at least, so that their products are batches."""
    return values[:, : max(number, 2)].transpose(0, 1)


def by_task(gradients: Sequence[Tensor], gates: int, size: int, tasks: int, episodes: int) -> list[Tensor]:
    """Return gradients of each lifetime's weights `[N, g w, ...]` added up in each task, `[K, g h, ...]`."""

    def narrowed(value: Tensor) -> Tensor:
        units = value[: tasks * episodes].unflatten(1, (gates, -1))[:, :, :size]
        return units.flatten(1, 2).unflatten(0, (tasks, episodes))

    return [narrowed(value).sum(1) for value in gradients]


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Return inputs `[L, rows, i]` times weights `[i, n]`, a product for each block of each step."""
    blocks = in_blocks(x.flatten(0, 1))
    return torch.bmm(blocks, weight.contiguous().expand(len(blocks), -1, -1)).view(*x.shape[:2], -1)


def in_blocks(rows: Tensor) -> Tensor:
    """Return `[rows, n]` as `[rows / BLOCK, BLOCK, n]`."""
    return rows.view(-1, BLOCK, rows.shape[-1])
