"""Networks for supervised tasks, whose forward pass also takes params stacked over tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metarl.core.layers import mlp


class MLP(nn.Module):
    """A relu network on flattened inputs.

    Args:
        shape: Shape of one input.
        hidden: Width of each hidden layer.
        outputs: Number of outputs.
        seed: Seed of the initial weights.
    """

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], outputs: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        inputs = int(torch.Size(shape).numel())
        self.inputs = len(shape)
        self.layers = mlp([inputs, *hidden, outputs], generator, nn.ReLU, biases=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs `[..., N, o]` of inputs `[..., N, *shape]`."""
        return self.layers(x.flatten(-self.inputs) if self.inputs > 1 else x)
