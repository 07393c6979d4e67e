"""Distributions against torch's own, and the initial network."""

import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from torch import distributions
from torch.testing import assert_close

from metarl import UserError
from metarl.core import params as P
from metarl.core.distributions import Categorical, Gaussian
from metarl.rl.policies import distribution, make_policy

G = torch.Generator().manual_seed(0)


def gaussian():
    return Gaussian(torch.randn(2, 5, 3, generator=G), 0.3 * torch.randn(2, 1, 3, generator=G))


def categorical():
    return Categorical(torch.log_softmax(torch.randn(2, 5, 4, generator=G), -1))


def theirs(d):
    if isinstance(d, Categorical):
        return distributions.Categorical(logits=d.logits)
    return distributions.Independent(distributions.Normal(d.mean, d.log_std.exp().expand_as(d.mean)), 1)


@pytest.mark.parametrize("kind", [gaussian, categorical])
def test_log_probabilities_and_kl_are_those_of_torch(kind):
    p, q = kind(), kind()
    act = theirs(p).sample()
    assert_close(p.log_prob(act), theirs(p).log_prob(act))
    assert_close(p.kl(q), distributions.kl_divergence(theirs(p), theirs(q)))


@pytest.mark.parametrize("discrete", [False, True])
def test_noise_becomes_actions_of_the_right_distribution(discrete):
    net = tiny.policy(discrete).float()
    obs = torch.tensor([[0.3, -0.7]])
    p = distribution(net, P.params_of(net), obs.expand(200_000, 2))
    noise = torch.from_numpy(net.noise(np.random.default_rng(0), (200_000,)))
    act = p.sample(noise)
    if discrete:
        assert_close(torch.bincount(act) / 200_000, p.logits[0].exp(), atol=0.005, rtol=0)
    else:
        assert_close(act.mean(0), p.mean[0], atol=0.01, rtol=0)
        assert_close(act.std(0), p.log_std.exp()[0], atol=0.01, rtol=0)


def test_noise_of_exactly_zero_chooses_its_action():
    """Exponential numbers of 32 bits are 0 once in some millions."""
    p = distribution(net := tiny.policy(discrete=True), P.params_of(net), torch.zeros(1, 2, dtype=torch.float64))
    for action in range(p.logits.shape[-1]):
        noise = torch.ones_like(p.logits)
        noise[0, action] = 0.0
        assert p.sample(noise).item() == action


@pytest.mark.parametrize("discrete", [False, True])
def test_stacked_params_give_each_task_its_own_policy(discrete):
    net = tiny.policy(discrete)
    stacked = {n: v + 0.1 * torch.randn(3, *v.shape, generator=G, dtype=v.dtype) for n, v in P.params_of(net).items()}
    obs = torch.randn(3, 7, 2, generator=G, dtype=torch.float64)
    together = distribution(net, stacked, obs)
    for k in range(3):
        alone = distribution(net, {n: v[k] for n, v in stacked.items()}, obs[k])
        for a, b in zip(together.parameters, alone.parameters, strict=True):
            assert_close(a[k], b)


def test_environment_actions_are_scaled_and_clipped():
    net = make_policy(spaces.Box(-1, 1, (2,)), spaces.Box(-1.0, 0.5, (2,)), (4,), 0, action_scale=0.1)
    assert_close(net.env_action(torch.tensor([[2.0, -4.0], [20.0, -20.0]])), np.float32([[0.2, -0.4], [0.5, -1.0]]))
    discrete = make_policy(spaces.Box(-1, 1, (2,)), spaces.Discrete(3, start=5), (4,), 0)
    assert discrete.env_action(torch.tensor([0, 2])).tolist() == [5, 7]


def test_the_standard_deviation_has_a_floor():
    net = tiny.policy()
    with torch.no_grad():
        net.log_std.fill_(-100.0)
    assert_close(net(torch.zeros(1, 2).double()).log_std.exp(), torch.full((1, 2), 1e-6).double())


def test_the_seed_chooses_the_weights_and_nothing_else_does():
    spaces_ = spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (2,)), (8,)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a = make_policy(*spaces_, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(5)
    b, c = make_policy(*spaces_, seed=3), make_policy(*spaces_, seed=4)
    assert torch.equal(P.flatten(a.parameters()), P.flatten(b.parameters()))
    assert not torch.equal(P.flatten(a.parameters()), P.flatten(c.parameters()))


def test_spaces_without_a_policy_are_refused():
    with pytest.raises(UserError, match="Box of floats or Discrete"):
        make_policy(spaces.Box(-1, 1, (2,)), spaces.MultiBinary(3), (8,), 0)
    with pytest.raises(UserError, match="must be a Box"):
        make_policy(spaces.Discrete(4), spaces.Discrete(3), (8,), 0)


@pytest.mark.parametrize("shared", [True, False], ids=["one deviation for all states", "one a state"])
def test_the_fisher_matrix_of_a_gaussian_is_the_hessian_of_its_divergence(shared):
    g = torch.Generator().manual_seed(0)
    tasks, states, size = 2, 3, 2
    mean = torch.randn(tasks, states, size, generator=g, dtype=torch.float64)
    log_std = 0.3 * torch.randn(tasks, 1 if shared else states, size, generator=g, dtype=torch.float64)
    weight = torch.rand(tasks, states, generator=g, dtype=torch.float64)
    here = Gaussian(mean, log_std)
    direction = [torch.randn(x.shape, generator=g, dtype=torch.float64) for x in (mean, log_std)]

    def divergence(mean, log_std):
        return (here.kl(Gaussian(mean, log_std)) * weight).sum()

    _, expected = torch.autograd.functional.hvp(divergence, (mean, log_std), tuple(direction))
    for mine, theirs in zip(here.fisher(direction, weight), expected, strict=True):
        assert_close(mine, theirs)
