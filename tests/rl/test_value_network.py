"""The value network as an alternative to the linear baseline."""

import pytest
import torch
from torch.testing import assert_close

import metarl
from metarl.rl.advantages import linear_baseline, network_baseline, picture_baseline
from metarl.rl.episodes import Episodes


def problem(tasks=3):
    """Returns that no linear function of the features gives, and ragged episodes."""
    g = torch.Generator().manual_seed(0)
    obs = torch.randn(tasks, 10, 20, 2, generator=g)
    lengths = torch.randint(5, 21, (tasks, 10), generator=g)
    mask = (torch.arange(20) < lengths[..., None]).float()
    scale = torch.tensor([1.0, 30.0, 500.0])[:tasks, None, None]
    returns = scale * torch.sin(2 * obs[..., 0]) * torch.tanh(2 * obs[..., 1]) * mask
    return obs * mask[..., None], mask, returns


def test_it_explains_more_than_a_linear_function():
    obs, mask, returns = problem()

    def unexplained(values):
        return ((values - returns).square() * mask).sum((1, 2)) / (returns.square() * mask).sum((1, 2))

    network, linear = (
        unexplained(network_baseline(obs, mask, returns)),
        unexplained(linear_baseline(obs, mask, returns)),
    )
    assert (network < 0.6 * linear).all()


def test_each_task_is_fitted_alone_and_padding_counts_nothing():
    obs, mask, returns = problem()
    together = network_baseline(obs, mask, returns)
    alone = torch.cat([network_baseline(obs[k : k + 1], mask[k : k + 1], returns[k : k + 1]) for k in range(3)])
    assert_close(together * mask, alone * mask, rtol=1e-3, atol=1e-2)

    def padded(x, value):
        return torch.cat([x, torch.full_like(x[:, :, :4], value)], dim=2)

    longer = network_baseline(padded(obs, 3.0), padded(mask, 0.0), padded(returns, 9.0))
    assert_close(longer[:, :, :20] * mask, together * mask, rtol=1e-3, atol=1e-2)


def test_constant_returns_are_no_trouble():
    obs, mask, returns = problem()
    values = network_baseline(obs, mask, torch.full_like(returns, 3.0) * mask)
    assert_close(values * mask, 3.0 * mask, rtol=1e-2, atol=1e-2)


def test_a_run_can_choose_it():
    sizes = {"tasks": 3, "episodes": 3, "horizon": 8, "hidden": (8,), "eval_tasks": 1, "eval_episodes": 1}
    linear, network = (metarl.MAML("metarl/PointNavigation-v0", baseline=b, **sizes) for b in ("linear", "network"))
    linear.learn(1)
    network.learn(1)
    assert any(not torch.equal(linear.trainer.params[n], network.trainer.params[n]) for n in linear.trainer.params)


@pytest.mark.parametrize("name", ["linear", "network"])
def test_of_pictures_it_sees_fields(name):
    """What is seen tells the returns, and the time does not."""
    g = torch.Generator().manual_seed(0)
    bright = torch.randint(50, 250, (2, 4, 6, 1), generator=g).float()
    nothing = torch.zeros(2, 4, 6)
    seen = bright.expand(2, 4, 6, 8 * 8 * 3)
    episodes = Episodes(obs=seen, act=nothing, rew=nothing, mask=nothing + 1, logp=nothing, adv=nothing)
    returns = bright[..., 0] / 100
    fitted = picture_baseline(name, (8, 8, 3))(episodes, returns)
    assert (fitted - returns).square().mean() < 0.1 * returns.var()
