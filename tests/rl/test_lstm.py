"""The LSTM is torch's, and its gradient that of each task."""

import pytest
import tiny
import torch
from torch.testing import assert_close

from metarl.rl.lstm import unroll

K, E, L, INPUTS, SIZE = 3, 2, 21, 5, 4


def drawn(seed, dtype, size=SIZE, k=K, e=E):
    """Weights, inputs, memory, and directions in which outputs and last cells are added up."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    weights = [draw(4 * size, INPUTS), draw(4 * size, size), draw(4 * size), draw(4 * size)]
    return weights, draw(k, e, L, INPUTS), draw(k, e, 2 * size), draw(k, e, L, size), draw(k, e, size)


def ours(weights, inputs, memory, along, at_end, truncation=0):
    """Outputs, cells, and the gradient of their sum along the directions by inputs and each task's weights."""
    own = [value.expand(len(inputs), *value.shape).detach().requires_grad_() for value in weights]
    inputs = inputs.clone().requires_grad_()
    outputs, cells = unroll(inputs, memory, tuple(own), truncation)
    gradients = torch.autograd.grad((outputs * along).sum() + (cells * at_end).sum(), [inputs, *own])
    return outputs.detach(), cells.detach(), gradients


def torchs(weights, inputs, memory, along, at_end, truncation=L):
    """The same of one task by torch's LSTM, with the memory detached every so many steps."""
    unit = torch.nn.LSTM(INPUTS, SIZE, batch_first=True, dtype=weights[0].dtype)
    leaves = list(unit.parameters())
    for leaf, weight in zip(leaves, weights, strict=True):
        leaf.data = weight.clone()
    inputs = inputs.clone().requires_grad_()
    outputs, at = [], tuple(part[None].contiguous() for part in memory.chunk(2, dim=-1))
    for part in inputs.split(truncation, dim=1):
        out, at = unit(part, tuple(value.detach() for value in at))
        outputs.append(out)
    joined, cells = torch.cat(outputs, dim=1), at[1][0]
    gradients = torch.autograd.grad((joined * along).sum() + (cells * at_end).sum(), [inputs, *leaves])
    return joined.detach(), cells.detach(), gradients


@pytest.mark.parametrize("truncation", [0, L, L + 5, 4, 1])
def test_outputs_cells_and_gradients_are_torchs(truncation):
    """Truncated, the gradient is that of a loop that detaches the memory."""
    weights, *data = drawn(0, torch.float64)
    outputs, cells, (to_inputs, *gradients) = ours(weights, *data, truncation)
    for k in range(K):
        expected, last, (by_inputs, *true) = torchs(weights, *(value[k] for value in data), truncation or L)
        assert_close(outputs[k], expected)
        assert_close(cells[k], last)
        assert_close(to_inputs[k], by_inputs)
        for mine, gradient in zip(gradients, true, strict=True):
            assert_close(mine[k], gradient)


def test_a_sequence_is_its_steps_one_after_another():
    weights, inputs, memory, *_ = drawn(2, torch.float64)
    own = tuple(value.expand(K, *value.shape) for value in weights)
    outputs, cells = unroll(inputs, memory, own)
    for t in range(L):
        out, cell = unroll(inputs[:, :, t : t + 1], memory, own)
        assert_close(out[:, :, 0], outputs[:, :, t])
        memory = torch.cat([out[:, :, 0], cell], dim=-1)
    assert_close(memory[..., SIZE:], cells)


def test_the_gradient_is_that_of_finite_differences():
    weights, inputs, memory, along, at_end = drawn(3, torch.float64)
    shapes = [value.shape for value in weights]

    def objective(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        own = [part.view(shape).expand(K, *shape) for part, shape in zip(parts, shapes, strict=True)]
        outputs, cells = unroll(inputs, memory, tuple(own))
        return (outputs * along).sum() + (cells * at_end).sum()

    here = torch.cat([value.flatten() for value in weights])
    gradient = torch.autograd.functional.jacobian(objective, here)
    assert_close(gradient, tiny.finite_difference(objective, here), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [2, 4, 8, 13, 16, 33, 64, 100])
@pytest.mark.parametrize("e", [1, 3, 8])
def test_a_task_comes_out_the_same_whatever_is_beside_it(size, e):
    """Outputs, cells and gradients, to the last bit: alone, among few and among many, wherever in a block it lies."""
    weights, *data = drawn(1, torch.float32, size, k=20, e=e)
    outputs, cells, gradients = ours(weights, *data)
    for first, last in [(0, 1), (7, 8), (3, 8), (5, 20)]:
        some, ends, own = ours(weights, *(value[first:last] for value in data))
        assert torch.equal(some, outputs[first:last]) and torch.equal(ends, cells[first:last])
        for mine, among in zip(own, gradients, strict=True):
            assert torch.equal(mine, among[first:last])
