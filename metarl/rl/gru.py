"""A gated recurrent unit (Cho et al. 2014) on sequences of K tasks, with the gradient of each task's own weights.

With inputs x and memory h, and for each gate its rows of the weights:

    r = σ(Wx + b + Uh + c),  z likewise,  n = tanh(Wx + b + r (Uh + c)),  h' = (1 - z) n + z h

These are the equations and the order of gates (r, z, n) of `torch.gru`. The derivative of that adds up the weights'
gradients step by step and over all tasks; here one product a lifetime does it for all steps at once.
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


def unroll(inputs: Tensor, memory: Tensor, weights: Weights, truncation: int = 0) -> Tensor:
    """Return the memory after each of L inputs, `[K, E, L, h]`.

    Differentiable once, with respect to the weights and the inputs.

    Args:
        inputs: Inputs in order of time, `[K, E, L, i]`.
        memory: Memory before the first, `[K, E, h]`.
        weights: The weights, of three gates.
        truncation: The derivative takes the memory before every so many steps for a constant; 0: it reaches back to
            the first step.
    """
    return cast(Tensor, _Unrolled.apply(inputs, memory, truncation, *weights))


def prepared(weights: Weights) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return a function from inputs and memory, as `unroll` takes them, to states `[K, E, L, h]` and the memory then.

    For weights that stay the same for many inputs in turn. Nothing is differentiated.
    """
    ready = _Ready(weights)

    def forward(inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        tasks, episodes, size = memory.shape
        _, states, _, _ = ready.run(inputs, memory)
        states = in_tasks(states[1:], tasks, episodes, size)
        return states, states[:, :, -1]

    return forward


class _Ready:
    """The recursion, with weights arranged as its products take them."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.by_input, self.by_memory, input_bias, memory_bias = widened(weights, 3)
        # what the inputs add to r, to z and to the part of n that is recalled, Uh + c; apart, their own part of n
        two = 2 * self.by_memory.shape[-1]
        gates = torch.cat([self.by_input, (input_bias + memory_bias)[:, None]], dim=1)
        gates[two:, :-1], gates[two:, -1] = 0, memory_bias[two:]
        self.to_gates = gates.mT.contiguous()
        self.to_new = torch.cat([self.by_input[two:], input_bias[two:, None]], dim=1).mT.contiguous()
        self.recalled = self.by_memory.mT.contiguous()

    def run(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the inputs as they lie, the states before and after each step, the gates, and n."""
        rows, wide = rows_for(inputs.shape[0] * inputs.shape[1]), len(self.recalled)
        x, states = with_ones(inputs, rows, self.by_input.shape[1]), begun(memory, inputs.shape[2], rows, wide)
        gates, new = product(x, self.to_gates), product(x, self.to_new)
        recalled = self.recalled.expand(rows // BLOCK, -1, -1)
        for gate, n, before, after in zip(gates, new, states[:-1], states[1:], strict=True):
            in_blocks(gate).baddbmm_(in_blocks(before), recalled)
            gate[:, : 2 * wide].sigmoid_()
            n.addcmul_(gate[:, :wide], gate[:, 2 * wide :]).tanh_()
            torch.lerp(n, before, gate[:, wide : 2 * wide], out=after)
        return x, states, gates, new


class _Unrolled(torch.autograd.Function):
    """The recursion, and its derivative through time."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, memory: Tensor, truncation: int, *weights: Tensor) -> Tensor:
        tasks, episodes, length, width = inputs.shape
        ready, size = _Ready(weights), memory.shape[-1]
        by_input, by_memory = ready.by_input, ready.by_memory
        x, states, gates, new = ready.run(inputs, memory)
        ctx.sizes, ctx.truncation = (tasks, episodes, width, size), truncation or length
        ctx.save_for_backward(x, states, gates, new, by_input, by_memory)
        return in_tasks(states[1:], tasks, episodes, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, states, gates, new, by_input, by_memory = ctx.saved_tensors
        tasks, episodes, width, size = ctx.sizes
        (length, rows, wide), number = new.shape, tasks * episodes
        grad = outputs[0].flatten(0, 1).transpose(0, 1)
        pushed = torch.empty_like(gates)  # what reaches the memory's part of the gates
        to_new = torch.empty_like(new)  # what reaches the inputs' part of n
        by_gates = by_memory.expand(rows // BLOCK, -1, -1)
        carried = torch.zeros_like(new[0])
        for start in reversed(range(0, length, STEPS_AT_ONCE)):
            steps = slice(start, min(start + STEPS_AT_ONCE, length))
            r, z, recalled = gates[steps].split(wide, dim=-1)
            factor = _factors(states[steps], r, z, recalled, new[steps], pushed[steps])
            reached = torch.zeros_like(new[steps])
            reached[:, :number, :size] = grad[steps]
            for t, here, kept, push in reversed([*zip(range(start, length), reached, z, pushed[steps], strict=False)]):
                push.view(rows, 3, wide).mul_(here.add_(carried)[:, None])
                if t % ctx.truncation:
                    carried = torch.mul(here, kept)
                    in_blocks(carried).baddbmm_(in_blocks(push), by_gates)
                else:
                    carried = torch.zeros_like(carried)
            torch.mul(reached, factor, out=to_new[steps])
        to_inputs, two = None, 2 * wide
        if ctx.needs_input_grad[0]:
            to_x = product(torch.cat([pushed[..., :two], to_new], dim=-1), by_input)
            to_inputs = in_tasks(to_x, tasks, episodes, width)
        x, pushed, to_new, before = (by_lifetime(v, number) for v in (x, pushed, to_new, states[:-1]))
        by_gate, by_new = pushed.mT @ x, to_new.mT @ x
        gradients = [
            torch.cat([by_gate[:, :two, :width], by_new[..., :width]], dim=1),
            (pushed.mT @ before)[..., :size],
            torch.cat([by_gate[:, :two, -1], by_new[..., -1]], dim=1),
            by_gate[..., -1],
        ]
        return to_inputs, None, None, *by_task(gradients, 3, size, tasks, episodes)


def _factors(before: Tensor, r: Tensor, z: Tensor, recalled: Tensor, n: Tensor, gates: Tensor) -> Tensor:
    """Return the derivative of the next memory by the sum in n; those by the gates' sums go to `gates`."""
    through_tanh, through_sigmoid = torch.ops.aten.tanh_backward, torch.ops.aten.sigmoid_backward
    factor, size = through_tanh(1 - z, n), n.shape[-1]
    gates[..., :size] = through_sigmoid(factor * recalled, r)
    gates[..., size : 2 * size] = through_sigmoid(before - n, z)
    torch.mul(factor, r, out=gates[..., 2 * size :])
    return factor
