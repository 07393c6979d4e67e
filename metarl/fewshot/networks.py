"""Networks for supervised tasks, whose forward pass also takes params stacked over tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

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


class Block(nn.Module):
    """Convolution 3 x 3, batch normalisation, relu, and the largest of each 2 x 2 (Vinyals et al. 2016).

    Means and variances are those of the task's own examples at hand: nothing is remembered, so no
    task sees another's.

    Args:
        channels: Channels of the input.
        filters: Channels of the output.
        generator: Source of the initial weights.
    """

    def __init__(self, channels: int, filters: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = (6 / (9 * channels)) ** 0.5  # He et al. 2015, for relu
        self.weight = nn.Parameter(torch.empty(filters, channels, 3, 3).uniform_(-bound, bound, generator=generator))
        self.gain, self.shift = nn.Parameter(torch.ones(filters)), nn.Parameter(torch.zeros(filters))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `[K, N, filters, h / 2, w / 2]` of inputs `[K, N, channels, h, w]`."""
        k, n = x.shape[:2]
        h = x.transpose(0, 1).flatten(1, 2)  # a group of channels a task: faster than vmap on a CPU
        h = functional.conv2d(h, self.weight.flatten(0, 1), padding=1, groups=k)
        centred = h - h.mean((0, 2, 3), keepdim=True)
        scale = self.gain.flatten()[:, None, None] * torch.rsqrt(centred.square().mean((0, 2, 3), keepdim=True) + 1e-5)
        h = functional.max_pool2d(torch.relu(centred * scale + self.shift.flatten()[:, None, None]), 2)
        return h.view(n, k, -1, *h.shape[2:]).transpose(0, 1)


class ConvNet(nn.Module):
    """Four blocks and a linear head, as few-shot classification customarily has (Vinyals et al. 2016).

    Takes stacked params only: `[K, ...]` for inputs `[K, N, 1, 28, 28]`.

    Args:
        filters: Channels of each block.
        ways: Number of classes.
        seed: Seed of the initial weights.
    """

    def __init__(self, filters: int, ways: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.blocks = nn.Sequential(*(Block(filters if i else 1, filters, generator) for i in range(4)))
        self.head = mlp([filters, ways], generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, `[K, N, ways]`."""
        return self.head(self.blocks(x).flatten(2))
