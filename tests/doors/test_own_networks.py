"""Other people's policy networks, baselines and inner losses."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import metarl
from metarl.core import params as P

SMALL = {"tasks": 4, "episodes": 4, "horizon": 10, "action_scale": 0.1, "eval_tasks": 2}
ENV = "metarl/PointNavigation-v0"


class NormNet(nn.Module):
    """Layers of torch's own."""

    def __init__(self, inputs: int, actions: int):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, actions))
        self.log_std = nn.Parameter(torch.zeros(actions))

    def forward(self, obs):
        return metarl.Gaussian(self.body(obs), self.log_std[None])


def make_norm_net(observation_space, action_space, generator):
    return NormNet(observation_space.shape[0], action_space.shape[0])


class Finder(gymnasium.Env):
    """A bright square on a dark picture; the task says whether to point at its side or at the other one."""

    observation_space = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    action_space = spaces.Discrete(2)
    task_space = spaces.Box(0.0, 1.0, (1,))

    def sample_tasks(self, n, rng):
        return np.zeros((n, 1))

    def set_task(self, task):
        self.task = task

    def _picture(self):
        self.side = int(self.np_random.integers(2))
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[12:20, 4 + 16 * self.side : 12 + 16 * self.side] = 255
        return picture

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._picture(), {}

    def step(self, action):
        right = action == (self.side if self.task[0] < 0.5 else 1 - self.side)
        return self._picture(), float(right), False, False, {}


def test_a_network_of_layer_norm_and_relu_trains_and_comes_back(tmp_path):
    model = metarl.MAML(ENV, policy=make_norm_net, **SMALL).learn(2)
    assert model.config.policy.endswith(":make_norm_net")
    model.save(tmp_path / "model")
    with pytest.raises(metarl.UserError, match=r"policy .*make_norm_net.*give it again"):
        metarl.load(tmp_path / "model")
    again = metarl.load(tmp_path / "model", policy=make_norm_net)
    obs = np.zeros((3, 2))
    for policy in (model, again):
        assert policy.policy.predict(obs, deterministic=True)[0].shape == (3, 2)
    one, other = (m.adapt([0.1, 0.2], seed=4).predict(obs, deterministic=True)[0] for m in (model, again))
    assert np.array_equal(one, other)


def test_params_of_another_precision_are_refused():
    with pytest.raises(metarl.UserError, match=r"params must be torch\.float32, 'log_std' is torch\.float64"):
        metarl.MAML(ENV, policy=lambda *given: make_norm_net(*given).double(), **SMALL)


def test_tasks_computed_together_are_as_each_alone():
    model = metarl.MAML(ENV, policy=make_norm_net, **SMALL)
    policy = model.trainer.network
    params = {n: torch.stack([v, 1.5 * v, v - 0.1]) for n, v in model.trainer.params.items()}
    obs = torch.randn(3, 5, 2)
    together = torch.func.functional_call(policy, params, (obs,))
    for k in range(3):
        alone = torch.func.functional_call(policy, {n: v[k] for n, v in params.items()}, (obs[k],))
        torch.testing.assert_close(together.mean[k], alone.mean)
        torch.testing.assert_close(together.log_std[k], alone.log_std)


def test_the_built_in_network_has_activations_layer_norm_and_a_small_last_layer():
    model = metarl.ProMP(ENV, activation="relu", layer_norm=True, last_layer_std=0.01, hidden=(16,), **SMALL).learn(2)
    kinds = [type(layer).__name__ for layer in model.trainer.network.mean]
    assert kinds == ["Linear", "LayerNorm", "ReLU", "Linear"]
    fresh = metarl.ProMP(ENV, last_layer_std=0.01, hidden=(64,), **SMALL).trainer.network.mean[-1].weight
    assert 0.005 < float(fresh.detach().std()) < 0.02
    with pytest.raises(metarl.UserError, match=r"activation must be one of tanh, relu.*got 'rulu'"):
        metarl.MAML(ENV, activation="rulu", **SMALL)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (lambda: [nn.Linear(2, 4), nn.Dropout(0.1), nn.Linear(4, 2)], r"layer 'body.1' \(Dropout\)"),
        (lambda: [nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)], r"layer 'body.1' \(BatchNorm1d\)"),
        (lambda: [nn.Linear(2, 3)], "need a Gaussian of 2 numbers a state, got a Gaussian of shape"),
        (lambda: [nn.Linear(5, 2)], r"fails on observations \[3, 2\]"),
        (lambda: [Counting(), nn.Linear(2, 2)], r"buffer 'body.0.calls' changes as it runs"),
        (lambda: [Late(), nn.Linear(2, 2)], r"buffer 'body.0.cache' changes as it runs"),
        (lambda: [Remembering(), nn.Linear(2, 2)], "NormNet says something else of the same observations the second"),
        (lambda: [Remembering(), zero(nn.Linear(2, 2))], "NormNet says something else of the same observations"),
        (lambda: [Noisy(), nn.Linear(2, 2)], "NormNet says something else of the same observations the second"),
    ],
)
def test_networks_that_cannot_do_are_refused_by_name(layers, words):
    def make(observation_space, action_space, generator):
        net = NormNet(2, 2)
        net.body = nn.Sequential(*layers())
        return net

    with pytest.raises(metarl.UserError, match=words):
        metarl.MAML(ENV, policy=make, **SMALL)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls = self.calls + 1
        return x


def zero(layer):
    """A layer with which every policy begins the same."""
    nn.init.zeros_(layer.weight)
    return layer


class Remembering(nn.Module):
    """A recurrent cell whose memory is an attribute, which no layer and no buffer tells of."""

    def __init__(self):
        super().__init__()
        self.cell, self.memory = nn.GRUCell(2, 2), None

    def forward(self, x):
        self.memory = self.cell(x, self.memory)
        return self.memory


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("cache", None)

    def forward(self, x):
        self.cache = torch.ones(2)
        return x * self.cache


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, x):
        return self.scale * x


def test_a_buffer_that_stays_the_same_is_no_state():
    def make(scale):
        def policy(observation_space, action_space, generator):
            net = NormNet(2, 2)
            net.body = nn.Sequential(Scaled(scale), nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
            return net

        return policy

    model = metarl.MAML(ENV, policy=make([1.0, 1.0]), **SMALL).learn(1)
    other = metarl.MAML(ENV, policy=make([3.0, 1.0]), **SMALL).learn(1)
    assert not any("scale" in name for name in model.trainer.params)
    obs = np.ones((1, 2))
    before, after = (m.policy.predict(obs, deterministic=True)[0] for m in (model, other))
    assert not np.allclose(before, after)  # its scale is heeded


def test_pictures_are_learned_in_seconds():
    sizes = {"tasks": 2, "episodes": 8, "horizon": 10, "eval_tasks": 2, "hidden": (32,)}
    model = metarl.ProMP(Finder, outer_lr=3e-3, inner_lr=0.05, baseline="linear", **sizes)
    assert "convolutions" in repr(model.trainer.network)
    metarl_return = metarl.adaptation_curve(model.learn(12), steps=1, tasks=2, episodes=8).mean
    model.close()
    assert metarl_return[1] > 8  # of 10; 5 by chance


def test_own_baseline_and_inner_loss():
    asked = []

    def mean_return(episodes, returns):
        asked.append(returns.shape)
        return returns.mean((1, 2), keepdim=True).expand_as(returns)

    def log_likelihood(distribution, episodes):
        logp = distribution.log_prob(episodes.act.flatten(1, 2))
        return -(logp * episodes.adv.flatten(1) * episodes.weight).sum(-1)

    own = metarl.MAML(ENV, baseline=mean_return, inner_loss=log_likelihood, fisher_stride=1, **SMALL).learn(2)
    assert asked
    named = metarl.MAML(ENV, baseline=mean_return, inner_loss="log-likelihood", fisher_stride=1, **SMALL).learn(2)
    assert all(torch.equal(own.trainer.params[n], named.trainer.params[n]) for n in own.trainer.params)
    with pytest.raises(metarl.UserError, match="a baseline returns values of shape"):
        metarl.MAML(ENV, baseline=lambda episodes, returns: returns[0], **SMALL).learn(1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(metarl.UserError, match=r"an inner loss returns a number a task, \[4\], got \[\]"):
        metarl.MAML(ENV, inner_loss=lambda distribution, episodes: episodes.adv.mean(), **SMALL).learn(1)
    with pytest.raises(metarl.UserError, match="rl2 has a recurrent policy of its own: activation must stay 'tanh'"):
        metarl.RL2(ENV, activation="relu", **SMALL)
    with pytest.raises(metarl.UserError, match="rl2 takes no pictures"):
        metarl.RL2(Finder, tasks=2, episodes=2, horizon=5)


def test_the_head_of_a_network_of_ones_own_adapts_in_anil():
    model = metarl.ANIL(ENV, policy=make_norm_net, **SMALL)
    before = {name: value.clone() for name, value in model.trainer.params.items()}
    adapted = model.adapt([0.3, -0.2]).params
    changed = {name for name in adapted if not torch.equal(adapted[name], before[name])}
    assert changed == {"network.body.3.weight", "network.body.3.bias", "network.log_std"}


class Fixed(nn.Module):
    """Its deviation does not learn."""

    def __init__(self, log_std):
        super().__init__()
        self.mean, self.log_std = nn.Linear(2, 2), log_std

    def forward(self, obs):
        return metarl.Gaussian(self.mean(obs), self.log_std)


def test_a_deviation_that_does_not_learn():
    model = metarl.MAML(ENV, policy=lambda observations, actions, generator: Fixed(torch.zeros(1, 2)), **SMALL).learn(1)
    assert not any("log_std" in name for name in model.trainer.params)
    model.close()


def test_derivatives_of_what_depends_on_nothing_are_zero():
    x = torch.linspace(-1, 1, 3, dtype=torch.float64, requires_grad=True)
    outputs, v = (x.sin(), torch.ones(2, dtype=torch.float64)), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    along = P.forward_derivative(outputs, [x])([v])
    torch.testing.assert_close(along, (x.cos() * v, torch.zeros(2, dtype=torch.float64)))
    (back,) = P.pull_back(outputs, [x], [v, torch.ones(2, dtype=torch.float64)])
    torch.testing.assert_close(back, x.cos() * v)


@pytest.mark.parametrize(
    ("make", "env", "words"),
    [
        (lambda net: net, ENV, r"log_std of metarl.Gaussian must have shape \[1, 2\].*got \[2\]"),
        (lambda net: Logits(), "metarl/Bandit-v0", "takes log-probabilities.*log_softmax"),
    ],
)
def test_distributions_that_are_none_are_refused(make, env, words):
    with pytest.raises(metarl.UserError, match=words):
        metarl.MAML(env, policy=lambda observations, actions, generator: make(Fixed(torch.zeros(2))), **SMALL)


class Logits(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 5)

    def forward(self, obs):
        return metarl.Categorical(self.layer(obs))


@pytest.mark.parametrize("name", ["policy", "baseline", "inner_loss"])
def test_what_cannot_be_called_is_refused(name):
    with pytest.raises(metarl.UserError, match=f"{name} takes one of our names or a function, got 5"):
        metarl.MAML(ENV, **{name: 5}, **SMALL)


def test_init_std_is_of_the_built_in_policy():
    with pytest.raises(metarl.UserError, match=r"init_std=0\.5: for the built-in policy only"):
        metarl.MAML("metarl/PointNavigation-v0", policy=lambda *_: None, init_std=0.5, **SMALL)
