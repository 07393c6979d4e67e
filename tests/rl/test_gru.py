"""The recurrent unit is torch's, and its gradient that of each task."""

import pytest
import torch
from torch.testing import assert_close

from metarl.rl.gru import unroll

K, E, L, INPUTS, SIZE = 3, 2, 21, 5, 4


def drawn(seed, dtype, size=SIZE, k=K, e=E):
    """Weights, inputs, memory, and a direction in which states are added up."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    weights = [draw(3 * size, INPUTS), draw(3 * size, size), draw(3 * size), draw(3 * size)]
    return weights, draw(k, e, L, INPUTS), draw(k, e, size), draw(k, e, L, size)


def ours(weights, inputs, memory, direction, truncation=0):
    """States, and the gradient of their sum along the direction with respect to inputs and each task's weights."""
    own = [value.expand(len(inputs), *value.shape).detach().requires_grad_() for value in weights]
    inputs = inputs.clone().requires_grad_()
    states = unroll(inputs, memory, tuple(own), truncation)
    return states.detach(), torch.autograd.grad((states * direction).sum(), [inputs, *own])


def torchs(weights, inputs, memory, direction, truncation=L):
    """The same of one task by torch's unit, with the memory detached every so many steps."""
    leaves = [value.clone().requires_grad_() for value in (inputs, *weights)]
    states, at = [], memory[None]
    for part in leaves[0].split(truncation, dim=1):
        out, at = torch.gru(part, at.detach(), leaves[1:], True, 1, 0.0, False, False, True)
        states.append(out)
    joined = torch.cat(states, dim=1)
    return joined.detach(), torch.autograd.grad((joined * direction).sum(), leaves)


@pytest.mark.parametrize("truncation", [0, L, L + 5, 4, 1])
def test_states_and_gradients_are_torchs(truncation):
    """Truncated, the gradient is that of a loop that detaches the memory."""
    weights, inputs, memory, direction = drawn(0, torch.float64)
    states, (to_inputs, *gradients) = ours(weights, inputs, memory, direction, truncation)
    for k in range(K):
        expected, (by_inputs, *true) = torchs(weights, inputs[k], memory[k], direction[k], truncation or L)
        assert_close(states[k], expected)
        assert_close(to_inputs[k], by_inputs)
        for mine, gradient in zip(gradients, true, strict=True):
            assert_close(mine[k], gradient)


@pytest.mark.parametrize("size", [2, 4, 8, 13, 16, 33, 64, 100])
@pytest.mark.parametrize("e", [1, 3, 8])
def test_a_task_comes_out_the_same_whatever_is_beside_it(size, e):
    """States and gradients, to the last bit: alone, among few and among many, wherever in a block it lies."""
    weights, *data = drawn(1, torch.float32, size, k=20, e=e)
    states, gradients = ours(weights, *data)
    for first, last in [(0, 1), (7, 8), (3, 8), (5, 20)]:
        some, own = ours(weights, *(value[first:last] for value in data))
        assert torch.equal(some, states[first:last])
        for mine, among in zip(own, gradients, strict=True):
            assert torch.equal(mine, among[first:last])
