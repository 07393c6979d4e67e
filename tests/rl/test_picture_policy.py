"""The conv network on pictures obeys the settings of the built-in network."""

import numpy as np
import torch
from gymnasium import spaces

from metarl.core import params as P
from metarl.rl.picture_policy import make_picture_policy
from metarl.rl.policies import distribution

PICTURES, ACTIONS = spaces.Box(0, 255, (12, 10, 3), np.uint8), spaces.Box(-1.0, 1.0, (2,))


def policy(**look):
    return make_picture_policy(PICTURES, ACTIONS, (16,), 0, **look)


def test_layers_are_normalised_before_their_activations():
    network = policy(activation="relu", layer_norm=True).network
    kinds = [type(layer).__name__ for layer in (*network.convolutions, *network.head)]
    assert kinds == [*["Conv2d", "LayerNorm", "ReLU"] * 2, "Linear", "LayerNorm", "ReLU", "Linear"]
    pixels = torch.randint(0, 256, (5, 3, 12, 10)).float()
    normal = network.convolutions[1](network.convolutions[0](pixels)).flatten(1)
    torch.testing.assert_close(normal.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std(1, correction=0), torch.ones(5), atol=1e-3, rtol=0)


def test_a_task_alone_is_as_among_others():
    net = policy(layer_norm=True)
    params = {name: torch.stack([value, 1.1 * value]) for name, value in P.params_of(net).items()}
    obs = torch.randint(0, 256, (2, 4, PICTURES.shape[0] * PICTURES.shape[1] * 3)).float()
    together = distribution(net, params, obs)
    alone = distribution(net, {name: value[1:] for name, value in params.items()}, obs[1:])
    torch.testing.assert_close(together.mean[1], alone.mean[0])


def test_the_last_layer_has_the_std_that_was_asked_for():
    usual, small = (policy(last_layer_std=std).network.head for std in (None, 0.01))
    assert 0.005 < float(small[-1].weight.detach().std()) < 0.02 < float(usual[-1].weight.detach().std())
    assert torch.equal(usual[0].weight, small[0].weight)


def test_without_them_the_network_is_what_it_was():
    plain, asked = policy(), policy(layer_norm=False, last_layer_std=None)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), asked.parameters(), strict=True))
    assert not any(isinstance(layer, torch.nn.LayerNorm) for layer in plain.modules())
