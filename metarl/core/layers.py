"""Layers whose forward pass also takes params stacked over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn


class Linear(nn.Linear):
    """A linear layer that takes one weight `[out, in]`, or one a task `[K, out, in]` for inputs `[K, N, in]`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs, `[..., out]`."""
        if self.weight.dim() == 3:
            if len(self.weight) == 1 and 1 in self.weight.shape[1:]:
                return self._twice(input)[:1]
            return torch.baddbmm(self.bias.unsqueeze(-2), input, self.weight.mT)
        return super().forward(input)

    def _twice(self, input: Tensor) -> Tensor:
        """Return the outputs of a lone task twice: as a product of one matrix they would be rounded differently."""
        pairs = (torch.cat([value, value]) for value in (self.bias.unsqueeze(-2), input, self.weight.mT))
        return torch.baddbmm(*pairs)


class LayerNorm(nn.LayerNorm):
    """A layer normalisation that takes one gain `[h]`, or one a task `[K, h]` for inputs `[K, N, h]`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised inputs, `[..., h]`."""
        if self.weight.dim() == 1:
            return super().forward(input)
        normal = nn.functional.layer_norm(input, self.normalized_shape, eps=self.eps)
        return torch.addcmul(self.bias.unsqueeze(-2), normal, self.weight.unsqueeze(-2))


def mlp(
    sizes: Sequence[int],
    generator: torch.Generator,
    activation: type[nn.Module] = nn.Tanh,
    biases: bool = False,
    layer_norm: bool = False,
    last_std: float | None = None,
) -> nn.Sequential:
    """Build a network: Xavier-uniform weights, drawn from the generator.

    Args:
        sizes: Inputs, width of each hidden layer, outputs.
        generator: Source of the initial weights.
        activation: What follows each layer but the last.
        biases: Whether biases begin uniform in ±1/√inputs, so that the kinks of a relu network with
            few inputs do not all lie at the origin; else at zero.
        layer_norm: Whether each hidden layer is normalised before its activation.
        last_std: Standard deviation of the last layer's weights, drawn from a normal distribution.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layer = cast(Linear, nn.utils.skip_init(Linear, n_in, n_out))  # no draw from the global generator
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        if biases:
            nn.init.uniform_(layer.bias, -(n_in**-0.5), n_in**-0.5, generator=generator)
        layers += [layer, *([LayerNorm(n_out)] if layer_norm else []), activation()]
    del layers[-2 if layer_norm else -1 :]
    if last_std is not None:
        nn.init.normal_(cast(Linear, layers[-1]).weight, std=last_std, generator=generator)
    return nn.Sequential(*layers)
