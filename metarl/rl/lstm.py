"""Long short-term memory (Hochreiter and Schmidhuber 1997) on sequences of K tasks, with each task's own gradient.

With inputs x, output h and cell s, and for each gate its rows of the weights:

    i = σ(Wx + b + Uh + c),  f and o likewise,  g = tanh(Wx + b + Uh + c),  s' = f s + i g,  h' = o tanh(s')

These are the equations and the order of gates (i, f, g, o) of `torch.lstm`. What is remembered are h and s, one after
the other. As in the gated recurrent unit, one product a lifetime gives the weights' gradients of all steps at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metarl.rl.blocks import (
    BLOCK,
    STEPS_AT_ONCE,
    Weights,
    begun,
    by_lifetime,
    by_task,
    in_blocks,
    in_tasks,
    product,
    rows_for,
    widened,
    with_ones,
)


def unroll(inputs: Tensor, memory: Tensor, weights: Weights, truncation: int = 0) -> tuple[Tensor, Tensor]:
    """Return the output after each of L inputs, `[K, E, L, h]`, and the cell after the last, `[K, E, h]`.

    Differentiable once, with respect to the weights and the inputs.

    Args:
        inputs: Inputs in order of time, `[K, E, L, i]`.
        memory: Output and cell before the first, `[K, E, 2 h]`.
        weights: The weights, of four gates.
        truncation: The derivative takes the memory before every so many steps for a constant; 0: it reaches back to
            the first step.
    """
    return cast(tuple[Tensor, Tensor], _Unrolled.apply(inputs, memory, truncation, *weights))


def prepared(weights: Weights) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return a function from inputs and memory, as `unroll` takes them, to outputs `[K, E, L, h]` and the memory then.

    For weights that stay the same for many inputs in turn. Nothing is differentiated.
    """
    ready = _Ready(weights)

    def forward(inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        tasks, episodes, size = memory.shape
        _, outs, cells, _, _ = ready.run(inputs, memory)
        outputs, cell = (in_tasks(part, tasks, episodes, size // 2) for part in (outs[1:], cells[-1:]))
        return outputs, torch.cat([outputs[:, :, -1], cell[:, :, 0]], dim=-1)

    return forward


class _Ready:
    """The recursion, with weights arranged as its products take them."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.by_input, self.by_memory, input_bias, memory_bias = widened(weights, 4)
        self.to_gates = torch.cat([self.by_input, (input_bias + memory_bias)[:, None]], dim=1).mT.contiguous()
        self.recalled = self.by_memory.mT.contiguous()

    def run(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the inputs as they lie, outputs and cells before and after each step, tanh of the cells, the gates."""
        rows, wide = rows_for(inputs.shape[0] * inputs.shape[1]), len(self.recalled)
        x = with_ones(inputs, rows, self.by_input.shape[1])
        outs, cells = (begun(part, inputs.shape[2], rows, wide) for part in memory.chunk(2, dim=-1))
        gates, squashed = product(x, self.to_gates), torch.empty_like(cells[1:])
        recalled = self.recalled.expand(rows // BLOCK, -1, -1)
        steps = zip(gates, squashed, outs[:-1], outs[1:], cells[:-1], cells[1:], strict=True)
        for gate, tanh, out, next_out, cell, next_cell in steps:
            in_blocks(gate).baddbmm_(in_blocks(out), recalled)
            gate[:, : 2 * wide].sigmoid_()
            i, f, g, o = gate.split(wide, dim=-1)
            torch.mul(f, cell, out=next_cell).addcmul_(i, g.tanh_())
            torch.mul(o.sigmoid_(), torch.tanh(next_cell, out=tanh), out=next_out)
        return x, outs, cells, squashed, gates


class _Unrolled(torch.autograd.Function):
    """The recursion, and its derivative through time."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, memory: Tensor, truncation: int, *weights: Tensor) -> tuple[Tensor, Tensor]:
        tasks, episodes, length, width = inputs.shape
        ready, size = _Ready(weights), memory.shape[-1] // 2
        by_input, by_memory = ready.by_input, ready.by_memory
        x, outs, cells, squashed, gates = ready.run(inputs, memory)
        ctx.sizes, ctx.truncation = (tasks, episodes, width, size), truncation or length
        ctx.save_for_backward(x, outs, cells, squashed, gates, by_input, by_memory)
        return in_tasks(outs[1:], tasks, episodes, size), in_tasks(cells[-1:], tasks, episodes, size)[:, :, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, outs, cells, squashed, gates, by_input, by_memory = ctx.saved_tensors
        tasks, episodes, width, size = ctx.sizes
        (length, rows, wide), number = squashed.shape, tasks * episodes
        grad = outputs[0].flatten(0, 1).transpose(0, 1)
        pushed = torch.empty_like(gates)  # what reaches the gates' sums
        by_gates = by_memory.expand(rows // BLOCK, -1, -1)
        carried, at_cell = torch.zeros_like(cells[0]), torch.zeros_like(cells[0])
        at_cell[:number, :size] = outputs[1].flatten(0, 1)
        for start in reversed(range(0, length, STEPS_AT_ONCE)):
            steps = slice(start, min(start + STEPS_AT_ONCE, length))
            to_cell = _factors(cells[steps], gates[steps], squashed[steps], pushed[steps])
            kept = gates[steps, :, wide : 2 * wide]
            reached = torch.zeros_like(squashed[steps])
            reached[:, :number, :size] = grad[steps]
            every = [*zip(range(start, length), reached, to_cell, kept, pushed[steps], strict=False)]
            for t, here, factor, f, push in reversed(every):
                at_cell.addcmul_(here.add_(carried), factor)
                push[:, : 3 * wide].view(rows, 3, wide).mul_(at_cell[:, None])
                push[:, 3 * wide :].mul_(here)
                if t % ctx.truncation:
                    at_cell.mul_(f)
                    torch.bmm(in_blocks(push), by_gates, out=in_blocks(carried))
                else:
                    at_cell.zero_()
                    carried.zero_()
        to_inputs = None
        if ctx.needs_input_grad[0]:
            to_inputs = in_tasks(product(pushed, by_input), tasks, episodes, width)
        x, pushed, before = (by_lifetime(v, number) for v in (x, pushed, outs[:-1]))
        by_gate = pushed.mT @ x
        gradients = [by_gate[..., :width], (pushed.mT @ before)[..., :size], by_gate[..., -1], by_gate[..., -1]]
        return to_inputs, None, None, *by_task(gradients, 4, size, tasks, episodes)


def _factors(before: Tensor, gates: Tensor, squashed: Tensor, pushed: Tensor) -> Tensor:
    """Return the derivative of the output by the cell; `pushed` gets those of cell (i, f, g) and output (o) by sums."""
    through_tanh, through_sigmoid = torch.ops.aten.tanh_backward, torch.ops.aten.sigmoid_backward
    size = squashed.shape[-1]
    i, f, g, o = gates.split(size, dim=-1)
    to_i, to_f, to_g, to_o = pushed.split(size, dim=-1)
    to_i.copy_(through_sigmoid(g, i))
    to_f.copy_(through_sigmoid(before, f))
    to_g.copy_(through_tanh(i, g))
    to_o.copy_(through_sigmoid(squashed, o))
    return through_tanh(o, squashed)
