"""Advantages: a linear feature baseline, generalised advantage estimation, normalisation under masks."""

from __future__ import annotations

from dataclasses import replace

import torch
from scipy.signal import lfilter
from torch import Tensor

from metarl.rl.episodes import Episodes


def with_advantages(episodes: Episodes, discount: float, gae_lambda: float) -> Episodes:
    """Return the episodes with each task's normalised advantages, from a baseline fitted to that task alone."""
    returns = discounted_sum(episodes.rew * episodes.mask, discount)
    values = linear_baseline(episodes.obs, episodes.mask, returns)
    adv = gae(episodes.rew, values, episodes.mask, discount, gae_lambda)
    return replace(episodes, adv=normalise(adv, episodes.mask))


def discounted_sum(x: Tensor, factor: float) -> Tensor:
    """Return y with y_t = x_t + factor y_{t+1} along the last axis."""
    filtered = lfilter([1.0], [1.0, -factor], x.double().flip(-1).numpy(), axis=-1)
    return torch.from_numpy(filtered).flip(-1).to(x.dtype)


def gae(rew: Tensor, values: Tensor, mask: Tensor, discount: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16), `[K, E, T]`.

    Args:
        rew: Rewards, `[K, E, T]`.
        values: State values, `[K, E, T]`.
        mask: 1 where a step was taken, `[K, E, T]`.
        discount: Discount factor γ.
        gae_lambda: Decay λ; 1 gives discounted return minus value.
    """
    values = values * mask
    # finite horizon: no bootstrap at the end (the task ends there), and values are 0 after it
    following = torch.nn.functional.pad(values[..., 1:], (0, 1))
    delta = (rew * mask + discount * following) - values
    return discounted_sum(delta, discount * gae_lambda) * mask


def normalise(adv: Tensor, mask: Tensor) -> Tensor:
    """Return advantages with mean 0 and standard deviation 1 over the steps of each task, `[K, E, T]`."""
    count = mask.sum((1, 2), keepdim=True)
    centred = (adv - (adv * mask).sum((1, 2), keepdim=True) / count) * mask
    std = (centred.square().sum((1, 2), keepdim=True) / count).sqrt()
    return centred / (std + 1e-8)


def linear_baseline(obs: Tensor, mask: Tensor, returns: Tensor, ridge: float = 1e-5) -> Tensor:
    """Fit each task's returns by ridge regression on features of state and time (Duan et al. 2016, appendix).

    Features are [o, o², t, t², t³, 1] with o clipped to ±10 and t the step of the episode over 100.
    Where the normal equations cannot be solved, the ridge grows tenfold until they can.

    Args:
        obs: Observations, `[K, E, T, o]`.
        mask: 1 where a step was taken, `[K, E, T]`.
        returns: Discounted returns to fit, `[K, E, T]`.
        ridge: Smallest ridge.

    Returns:
        Fitted values, `[K, E, T]`, in the dtype of `returns`.
    """
    x = baseline_features(obs) * mask.flatten(1)[..., None]  # [K, N, F], masked rows are zero
    y = (returns * mask).flatten(1)[..., None].double()
    gram, moment = x.mT @ x, x.mT @ y
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    factor, failed = torch.linalg.cholesky_ex(gram + ridge * eye)
    while failed.any() and ridge < 1e6:
        ridge *= 10
        factor, failed = torch.linalg.cholesky_ex(gram + ridge * eye)
    weights = torch.cholesky_solve(moment, factor)
    return (x @ weights).view_as(returns).to(returns.dtype)


def baseline_features(obs: Tensor) -> Tensor:
    """Return the baseline's features of observations `[K, E, T, o]`, `[K, E T, 2 o + 4]` in float64."""
    tasks, episodes, time, size = obs.shape
    o = obs.double().clamp(-10, 10)
    t = (torch.arange(time, dtype=torch.float64) / 100)[:, None]
    clock = torch.cat([t, t**2, t**3, torch.ones_like(t)], dim=-1).expand(tasks, episodes, time, 4)
    return torch.cat([o, o.square(), clock], dim=-1).view(tasks, episodes * time, 2 * size + 4)
