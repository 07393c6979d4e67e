"""Baseline, generalised advantage estimation and normalisation, against hand and dense solutions."""

import numpy as np
import torch
from torch.testing import assert_close

from metarl.rl.advantages import baseline_features, discounted_sum, gae, linear_baseline, normalise

D = torch.float64


def test_gae_by_hand():
    rew = torch.tensor([[[1.0, 2.0, 3.0, 0.0]]], dtype=D)
    values = torch.tensor([[[0.5, 0.25, 0.125, 9.0]]], dtype=D)
    mask = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]], dtype=D)
    d2 = 3 - 0.125
    d1 = 2 + 0.9 * 0.125 - 0.25
    d0 = 1 + 0.9 * 0.25 - 0.5
    c = 0.9 * 0.8
    expected = torch.tensor([[[d0 + c * (d1 + c * d2), d1 + c * d2, d2, 0.0]]], dtype=D)
    assert_close(gae(rew, values, mask, 0.9, 0.8), expected)


def test_gae_of_what_a_time_limit_cuts():
    """The last step says what the one before has led to; what follows it is unknown, and so is how good it was."""
    rew = torch.tensor([[[1.0, 2.0, 3.0, 0.0]]], dtype=D)
    values = torch.tensor([[[0.5, 0.25, 0.125, 9.0]]], dtype=D)
    mask = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]], dtype=D)
    d1 = 2 + 0.9 * 0.125 - 0.25
    d0 = 1 + 0.9 * 0.25 - 0.5
    expected = torch.tensor([[[d0 + 0.9 * 0.8 * d1, d1, 0.0, 0.0]]], dtype=D)
    assert_close(gae(rew, values, mask, 0.9, 0.8, cut=True), expected)


def test_without_a_clock_the_end_of_a_lifetime_is_no_surprise_where_it_is_cut():
    rew, worth = torch.ones(1, 1, 50, dtype=D), torch.full((1, 1, 50), 10.0, dtype=D)  # 1 / (1 - 0.9), at any time
    assert gae(rew, worth, torch.ones_like(rew), 0.9, 0.8, cut=True).abs().max() < 1e-12
    assert gae(rew, worth, torch.ones_like(rew), 0.9, 0.8)[0, 0, -1] == -9.0


def test_gae_with_lambda_one_is_return_minus_value():
    g = torch.Generator().manual_seed(0)
    rew, values = torch.randn(2, 2, 3, 6, generator=g, dtype=D)
    returns = discounted_sum(rew, 0.97)
    assert_close(gae(rew, values, torch.ones_like(rew), 0.97, 1.0), returns - values)


def test_discounted_sum_against_a_loop():
    x = np.random.default_rng(0).normal(size=(2, 3, 7))
    expected, running = np.zeros_like(x), np.zeros((2, 3))
    for t in reversed(range(7)):
        running = x[..., t] + 0.9 * running
        expected[..., t] = running
    assert_close(discounted_sum(torch.from_numpy(x), 0.9), torch.from_numpy(expected))


def test_the_baseline_is_the_ridge_regression_of_each_task():
    g = torch.Generator().manual_seed(1)
    obs = 4 * torch.randn(3, 4, 30, 2, generator=g, dtype=D)
    returns = torch.randn(3, 4, 30, generator=g, dtype=D)
    lengths = torch.randint(5, 31, (3, 4), generator=g)
    mask = (torch.arange(30) < lengths[..., None]).double()
    fitted = linear_baseline(obs, mask, returns)
    features = baseline_features(obs)
    for k in range(3):
        rows = mask[k].flatten() > 0
        x, y = features[k][rows].numpy(), returns[k].flatten()[rows].numpy()
        ridge = np.sqrt(1e-5) * np.eye(x.shape[1])  # ridge regression as least squares
        w, *_ = np.linalg.lstsq(np.vstack([x, ridge]), np.concatenate([y, np.zeros(len(ridge))]), rcond=None)
        assert_close(fitted[k].flatten()[rows], torch.from_numpy(x @ w), rtol=1e-6, atol=1e-6)


def test_the_clock_of_the_baseline_restarts_with_every_episode():
    features = baseline_features(torch.zeros(1, 2, 3, 1)).view(2, 3, 6)
    assert torch.equal(features[0], features[1])
    assert features[0, :, 2].tolist() == [0.0, 0.01, 0.02]


def test_observations_are_clipped_for_the_baseline():
    features = baseline_features(torch.full((1, 1, 1, 1), 1e6))
    assert features[0, 0, :2].tolist() == [10.0, 100.0]


def test_a_singular_fit_raises_the_ridge_instead_of_failing():
    obs = torch.zeros(1, 1, 2, 3)
    assert torch.isfinite(linear_baseline(obs, torch.ones(1, 1, 2), torch.ones(1, 1, 2), ridge=0.0 + 1e-30)).all()


def test_normalised_advantages_have_mean_zero_and_deviation_one_under_the_mask():
    g = torch.Generator().manual_seed(2)
    adv = 5 + 3 * torch.randn(2, 3, 8, generator=g, dtype=D)
    mask = (torch.rand(2, 3, 8, generator=g) < 0.7).double()
    result = normalise(adv, mask)
    for k in range(2):
        kept = result[k][mask[k] > 0]
        assert abs(kept.mean()) < 1e-12
        assert abs(kept.std(correction=0) - 1) < 1e-7
    assert not result[mask == 0].any()
