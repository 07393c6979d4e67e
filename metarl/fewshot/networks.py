"""Networks for supervised tasks, whose forward pass also takes params stacked over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.core.layers import mlp
from metarl.fewshot.images import SIDE


class MLP(nn.Module):
    """A relu network on flattened inputs.

    Args:
        shape: Shape of one input.
        hidden: Width of each hidden layer.
        outputs: Number of outputs.
        seed: Seed of the initial weights.
        context: Number of further inputs that are params.
    """

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], outputs: int, seed: int, context: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.shape, self.outputs = tuple(shape), outputs
        inputs = int(torch.Size(shape).numel())
        self.inputs = len(shape)
        self.layers = mlp([inputs, *hidden, outputs], generator, nn.ReLU, biases=True, context=context)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs `[..., N, o]` of inputs `[..., N, *shape]`."""
        return self.layers(x.flatten(-self.inputs) if self.inputs > 1 else x)


class Block(nn.Module):
    """Convolution 3 x 3 with stride 2, batch normalisation and relu (Finn et al. 2017, section 5.2, for Omniglot).

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
        if len(x) == 1:  # alone, a convolution has a routine of its own, which rounds in another way
            return self._features(*(torch.cat([value, value]) for value in (x, self.weight, self.gain, self.shift)))[:1]
        return self._features(x, self.weight, self.gain, self.shift)

    def _features(self, x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        k, n = x.shape[:2]
        h = x.transpose(0, 1).flatten(1, 2)  # a group of channels a task: faster than unfolding and bmm, or vmap
        h = functional.conv2d(h, weight.flatten(0, 1), stride=2, padding=1, groups=k)
        h = functional.batch_norm(h, None, None, gain.flatten(), shift.flatten(), training=True)
        return torch.relu(h).view(n, k, -1, *h.shape[2:]).transpose(0, 1)


class ConvNet(nn.Module):
    """Four blocks, the mean over what is left of the picture, and a linear head (Finn et al. 2017, for Omniglot).

    Takes stacked params only: `[K, ...]` for inputs `[K, N, channels, h, w]`.

    Args:
        filters: Channels of each block.
        ways: Number of classes.
        seed: Seed of the initial weights.
        shape: Shape of a picture, channels first.
    """

    SHRINKS: ClassVar[int] = 16
    """Points of a picture, in each direction, of which its blocks make one."""

    def __init__(self, filters: int, ways: int, seed: int, shape: Sequence[int] = (1, SIDE, SIDE)) -> None:
        super().__init__()
        self.shape, self.outputs = tuple(shape), ways
        generator = torch.Generator().manual_seed(seed)
        self.blocks = nn.Sequential(*(Block(filters if i else shape[0], filters, generator) for i in range(4)))
        self.head = mlp([filters, ways], generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, `[K, N, ways]`."""
        return self.head(self.blocks(x).mean((-2, -1)))
