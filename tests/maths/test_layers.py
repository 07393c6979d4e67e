"""A layer rounds a task's numbers alike, alone and among others."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from metarl.core.layers import Linear


@pytest.mark.parametrize("steps", [2, 7, 20, 160])
@pytest.mark.parametrize(
    ("inputs", "outputs"), [(1, 32), (32, 1), (100, 1), (1, 1), (7, 3), (17, 5), (17, 32), (32, 5)]
)
def test_a_lone_task_has_the_bits_that_it_has_among_others(inputs, outputs, steps):
    """Outputs and gradients, with a single input or output too."""
    g = torch.Generator().manual_seed(0)
    shared = {
        "weight": torch.randn(outputs, inputs, generator=g),
        "bias": torch.randn(outputs, generator=g),
    }
    x, direction = torch.randn(5, steps, inputs, generator=g), torch.randn(5, steps, outputs, generator=g)
    layer = Linear(inputs, outputs)

    def found(tasks: slice) -> list[Tensor]:
        k = len(x[tasks])
        own = {name: value.repeat(k, *[1] * value.dim()).requires_grad_() for name, value in shared.items()}
        seen = x[tasks].clone().requires_grad_()
        y = functional_call(layer, own, (seen,))
        return [y.detach(), *torch.autograd.grad((y * direction[tasks]).sum(), [seen, *own.values()])]

    together = found(slice(0, 5))
    for tasks in (slice(0, 1), slice(3, 4), slice(0, 2), slice(2, 5)):
        for alone, among in zip(found(tasks), together, strict=True):
            assert torch.equal(alone, among[tasks])
