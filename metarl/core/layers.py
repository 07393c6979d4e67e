"""Layers whose forward pass also takes params stacked over tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Linear(nn.Linear):
    """A linear layer that takes one weight `[out, in]`, or one a task `[K, out, in]` for inputs `[K, N, in]`.

    With a context it has so many further inputs that are params themselves, the same for all examples.

    Args:
        in_features: Number of inputs.
        out_features: Number of outputs.
        context: Number of params among the inputs; 0 has none.
    """

    def __init__(self, in_features: int, out_features: int, context: int = 0) -> None:
        super().__init__(in_features, out_features)
        if context:
            self.context, self.into = (
                nn.Parameter(torch.zeros(context)),
                nn.Parameter(torch.empty(out_features, context)),
            )

    def reset_parameters(self) -> None:
        """Draw nothing: whoever makes the layer sets its params, from a generator of its own."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs, `[..., out]`."""
        bias = full_bias(self._parameters)
        if self.weight.dim() == 3:
            if len(self.weight) == 1 and 1 in self.weight.shape[1:]:
                return _twice(bias, input, self.weight)[:1]
            return torch.baddbmm(bias.unsqueeze(-2), input, self.weight.mT)
        return nn.functional.linear(input, self.weight, bias)


def full_bias(own: Mapping[str, Any]) -> Tensor:
    """Return what a linear layer adds to its weighted inputs, `[..., out]`: its bias, and what its context makes of it.

    Args:
        own: The layer's params, by their names in it.
    """
    if "context" not in own:
        return own["bias"]
    return own["bias"] + (own["into"] * own["context"].unsqueeze(-2)).sum(-1)


def _twice(bias: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """Return the outputs of a lone task twice: as a product of one matrix they would be rounded differently."""
    bias, input, weight = (torch.cat([value, value]) for value in (bias, input, weight))
    return torch.baddbmm(bias.unsqueeze(-2), input, weight.mT)


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
    context: int = 0,
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
        context: Number of further inputs of the first layer that are params. They begin at zero, and their weights
            standard normal: larger than the others, so that a gradient step moves much by them.
    """
    layers: list[nn.Module] = []
    linears: list[Linear] = []
    for n_in, n_out in pairwise(sizes):
        layer = Linear(n_in, n_out, 0 if linears else context)
        linears.append(layer)
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        if biases:
            nn.init.uniform_(layer.bias, -(n_in**-0.5), n_in**-0.5, generator=generator)
        layers += [layer, *([LayerNorm(n_out)] if layer_norm else []), activation()]
    del layers[-2 if layer_norm else -1 :]
    if last_std is not None:
        nn.init.normal_(linears[-1].weight, std=last_std, generator=generator)
    if context:
        nn.init.normal_(linears[0].into, generator=generator)
    return nn.Sequential(*layers)


def prepared_mlp(network: nn.Sequential, params: Mapping[str, Tensor], prefix: str) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of an `mlp` under params stacked over tasks, for many inputs `[K, N, in]` in turn.

    It saves `functional_call` in every pass. Nothing is differentiated. (Weights turned once and for all would save as
    much again of what is left, but products of narrow layers would be rounded in another way.)

    Args:
        network: The layers.
        params: Params `[K, ...]`, by name.
        prefix: What their names begin with.
    """
    passes: list[Callable[[Tensor], Tensor]] = []
    for name, layer in network.named_children():
        own = {key: params[f"{prefix}{name}.{key}"] for key, _ in layer.named_parameters()}
        if isinstance(layer, Linear) and not (len(own["weight"]) == 1 and 1 in own["weight"].shape[1:]):
            passes.append(_prepared_linear(own["weight"].mT, full_bias(own).unsqueeze(-2)))
        elif isinstance(layer, nn.Tanh):
            passes.append(torch.Tensor.tanh_)  # of what the layer before it has just made
        else:
            passes.append(partial(functional_call, layer, own) if own else layer)

    def forward(x: Tensor) -> Tensor:
        for each in passes:
            x = each(x)
        return x

    return forward


def _prepared_linear(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.baddbmm(bias, x, weight)
