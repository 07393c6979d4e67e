"""The built-in policy on pictures, a conv network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from metarl.core.distributions import Categorical, Gaussian
from metarl.core.layers import mlp
from metarl.rl.own_policy import OwnPolicy
from metarl.rl.policies import ACTIVATIONS, Activation, BoxActions, DiscreteActions, actions_of


class PictureNet(nn.Module):
    """Two strided convolutions and a perceptron on pictures `[N, h, w, c]` of 0 to 255.

    Args:
        observation_space: Pictures, `Box` of uint8 `[h, w, c]`.
        actions: The environment's actions.
        generator: Source of the initial weights.
        hidden: Width of each layer after the convolutions.
        init_std: Standard deviation to begin with.
        activation: What follows each layer.
        layer_norm: Whether each layer is normalised before its activation, over all that it says of a picture.
        last_layer_std: Standard deviation of the last layer's weights; by default Xavier-uniform.
        context: Number of inputs of the first layer after the convolutions that are params.
    """

    def __init__(
        self,
        observation_space: Space,
        actions: BoxActions | DiscreteActions,
        generator: torch.Generator,
        hidden: Sequence[int],
        init_std: float,
        activation: Activation,
        layer_norm: bool = False,
        last_layer_std: float | None = None,
        context: int = 0,
    ) -> None:
        super().__init__()
        height, width, channels = observation_space.shape or (0, 0, 0)
        act = ACTIVATIONS[activation]
        filters, kernel = (16, 32), (4, 4)
        sizes = [(height, width)]
        convolutions: list[nn.Module] = []
        for number, size in zip(filters, kernel, strict=True):
            layer = nn.utils.skip_init(nn.Conv2d, channels, number, size, stride=2, padding=1)
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            sizes.append(tuple((s + 2 - size) // 2 + 1 for s in sizes[-1]))  # type: ignore[arg-type]
            convolutions += [layer, *([nn.LayerNorm([number, *sizes[-1]])] if layer_norm else []), act()]
            channels = number
        self.convolutions = nn.Sequential(*convolutions)
        widths = [channels * sizes[-1][0] * sizes[-1][1], *hidden, actions.size]
        self.head = mlp(widths, generator, act, layer_norm=layer_norm, last_std=last_layer_std, context=context)
        self.discrete = isinstance(actions, DiscreteActions)
        if not self.discrete:
            self.log_std = nn.Parameter(torch.full((actions.size,), float(np.log(init_std))))

    def forward(self, obs: Tensor) -> Gaussian | Categorical:
        """Return the action distributions for pictures `[N, h, w, c]`."""
        pixels = obs.movedim(-1, -3) / 255
        out = self.head(self.convolutions(pixels).flatten(1))
        if self.discrete:
            return Categorical(torch.log_softmax(out, dim=-1))
        return Gaussian(out, self.log_std.clamp(min=-13.8)[None])


def is_picture(space: Space) -> bool:
    """Return whether observations are pictures: a `Box` of uint8 `[h, w, c]`, at least 8 pixels a side."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        return False
    return min(space.shape[:2]) >= 8


def make_picture_policy(
    observation_space: spaces.Box,
    action_space: Space,
    hidden: Sequence[int],
    seed: int,
    init_std: float = 1.0,
    action_scale: float = 1.0,
    activation: Activation = "tanh",
    layer_norm: bool = False,
    last_layer_std: float | None = None,
    context: int = 0,
) -> OwnPolicy:
    """Build the conv policy on pictures; its weights depend on the seed alone."""
    actions, generator = actions_of(action_space), torch.Generator().manual_seed(seed)
    look = (init_std, activation, layer_norm, last_layer_std, context)
    network = PictureNet(observation_space, actions, generator, hidden, *look)
    return OwnPolicy(network, observation_space, action_space, action_scale)
