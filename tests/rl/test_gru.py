"""The recurrent unit is torch's, and its gradient that of each task."""

import torch
from torch.testing import assert_close

from metarl.rl.gru import unroll

K, E, L, INPUTS, SIZE = 3, 2, 7, 5, 4


def test_states_and_gradients_are_torchs():
    g = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    weights = [draw(3 * SIZE, INPUTS), draw(3 * SIZE, SIZE), draw(3 * SIZE), draw(3 * SIZE)]
    inputs, memory, direction = draw(K, L, E, INPUTS), draw(K, E, SIZE), draw(K, L, E, SIZE)
    ours = [value.expand(K, *value.shape).detach().requires_grad_() for value in weights]
    states = unroll(inputs, memory, tuple(ours))
    gradients = torch.autograd.grad((states * direction).sum(), ours)
    for k in range(K):
        theirs = [value.clone().requires_grad_() for value in weights]
        expected, _ = torch.gru(inputs[k], memory[k][None], theirs, True, 1, 0.0, False, False, False)
        assert_close(states[k], expected)
        for mine, true in zip(gradients, torch.autograd.grad((expected * direction[k]).sum(), theirs), strict=True):
            assert_close(mine[k], true)
