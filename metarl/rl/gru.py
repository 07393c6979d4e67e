"""A gated recurrent unit (Cho et al. 2014) on sequences of K tasks, with the gradient of each task's own weights.

With inputs x and memory h, and for each gate its rows of the weights:

    r = σ(Wx + b + Uh + c),  z likewise,  n = tanh(Wx + b + r (Uh + c)),  h' = (1 - z) n + z h

These are the equations and the order of gates (r, z, n) of `torch.gru`. The derivative of that adds up the weights'
gradients step by step and over all tasks; here one product a task does it for all steps at once.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of inputs `[K, 3h, i]`, of the memory `[K, 3h, h]`, and both biases `[K, 3h]`: the same in every task."""


def unroll(inputs: Tensor, memory: Tensor, weights: Weights) -> Tensor:
    """Return the memory after each of L inputs, `[K, L, E, h]`.

    Differentiable once, with respect to the weights and the inputs.

    Args:
        inputs: Inputs in order of time, `[K, L, E, i]`.
        memory: Memory before the first, `[K, E, h]`.
        weights: The weights.
    """
    return cast(Tensor, _Unrolled.apply(inputs, memory, *weights))


class _Unrolled(torch.autograd.Function):
    """The recursion, and its derivative through time."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, memory: Tensor, *weights: Tensor) -> Tensor:
        tasks, length, rows, _ = inputs.shape
        size = memory.shape[-1]
        # a batch of small products, a task each: the rounding does not depend on the number of tasks
        by_input, by_memory = (weight[:1].mT.contiguous().expand(tasks, -1, -1) for weight in weights[:2])
        flat = inputs.reshape(tasks, length * rows, -1)
        gates = torch.baddbmm(weights[2][:, None], flat, by_input).view(tasks, length, rows, 3 * size)
        states = memory.new_empty(tasks, length + 1, rows, size)
        recalled = memory.new_empty(tasks, length, rows, size)
        states[:, 0] = memory
        bias = weights[3][:, None]
        for t in range(length):
            before, now = states[:, t], gates[:, t]
            added = torch.baddbmm(bias, before, by_memory)
            gate = now[..., : 2 * size].add_(added[..., : 2 * size]).sigmoid_()
            recalled[:, t] = added[..., 2 * size :]
            new = now[..., 2 * size :].addcmul_(gate[..., :size], recalled[:, t]).tanh_()
            torch.lerp(new, before, gate[..., size:], out=states[:, t + 1])
        ctx.save_for_backward(inputs, states, gates, recalled, *weights[:2])
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, states, gates, recalled, input_weights, weight = ctx.saved_tensors
        (grad,) = outputs
        tasks, length, rows, size = grad.shape
        by_gates = weight[:1].contiguous().expand(tasks, -1, -1)
        through_tanh, through_sigmoid = torch.ops.aten.tanh_backward, torch.ops.aten.sigmoid_backward
        to_memory = grad.new_empty(tasks, length, rows, 3 * size)  # what reaches the memory's part of the gates
        to_new = grad.new_empty(tasks, length, rows, size)  # what reaches the inputs' part of the candidate
        later = grad.new_zeros(tasks, rows, size)
        for t in range(length - 1, -1, -1):
            later += grad[:, t]
            r, z, n = gates[:, t].split(size, dim=-1)
            kept = later * z
            new = through_tanh(later - kept, n)
            to_new[:, t] = new
            reset = through_sigmoid(new * recalled[:, t], r)
            update = through_sigmoid(later * (states[:, t] - n), z)
            pushed = torch.cat([reset, update, new * r], dim=-1)
            to_memory[:, t] = pushed
            later = kept.baddbmm_(pushed, by_gates)
        to_memory, to_new = to_memory.flatten(1, 2), to_new.flatten(1, 2)
        past, seen = states[:, :-1].flatten(1, 2), inputs.flatten(1, 2)
        memory_bias = to_memory.sum(1)
        input_weight = torch.cat([to_memory[..., : 2 * size].mT @ seen, to_new.mT @ seen], dim=1)
        input_bias = torch.cat([memory_bias[:, : 2 * size], to_new.sum(1)], dim=1)
        to_inputs = None
        if ctx.needs_input_grad[0]:
            to_gates = torch.cat([to_memory[..., : 2 * size], to_new], dim=-1)
            to_inputs = (to_gates @ input_weights[:1].contiguous().expand(tasks, -1, -1)).view_as(inputs)
        return to_inputs, None, input_weight, to_memory.mT @ past, input_bias, memory_bias
