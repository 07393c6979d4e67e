"""Advantages: baselines fitted to each task, generalised advantage estimation, normalisation under masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from metarl.errors import Fault, UserError
from metarl.outer.adam import adam, adam_state
from metarl.rl.episodes import Episodes
from metarl.threads import threads_for

Baseline = Callable[[Episodes, Tensor], Tensor]
"""From episodes and their discounted returns `[K, E, T]` to the values fitted to them, `[K, E, T]`.

It is fitted where the mask is 1. Values elsewhere are asked for where an episode truncated itself (`value_beyond`).
"""


def with_advantages(
    episodes: Episodes,
    discount: float,
    gae_lambda: float,
    baseline: Baseline | None = None,
    beyond: Tensor | None = None,
    cut: bool = False,
) -> Episodes:
    """Return the episodes with each task's normalised advantages, from a baseline fitted to that task alone.

    Args:
        episodes: The episodes, `[K, E, T]`.
        discount: Discount factor γ.
        gae_lambda: Decay λ.
        baseline: What fits values to returns; by default linear in features of state and time.
        beyond: What each step's state after it is still worth, discounted, `[K, E, T]`; by default `value_beyond`.
        cut: See `gae`.

    Returns:
        The episodes, and where they have a field `ret`, what the baseline should have said. Tasks whose advantages are
        not finite (returns that overflow, say) are among their `faults`.
    """
    if beyond is None and episodes.cut:
        beyond = value_beyond(episodes, discount, baseline)
    credited = episodes if beyond is None else replace(episodes, rew=episodes.rew + beyond)
    adv, ret = torch.zeros_like(episodes.rew), torch.zeros_like(episodes.rew)
    for rows, part in credited.by_length():
        with threads_for(len(rows)):
            found = _advantages(part, discount, gae_lambda, baseline, cut)
        length = min(part.mask.shape[-1], adv.shape[-1])
        for whole, own in zip((adv, ret), found, strict=True):
            whole[rows, :, :length] = own[..., :length]
    overflown = (~torch.isfinite(adv).flatten(1).all(1)).nonzero().flatten().tolist()
    more = {"ret": ret} if "ret" in episodes.STEPPED else {}
    return replace(episodes, adv=adv, cut={}, **more).blank({task: Fault("advantage") for task in overflown})


def value_beyond(episodes: Episodes, discount: float, baseline: Baseline | None = None) -> Tensor:
    """Return what episodes that truncated themselves before the horizon would still have earned, `[K, E, T]`.

    Else a diverged simulation would pay where rewards are negative. It stands at the last step of each such episode,
    discounted by one step, and is 0 elsewhere. The value of the last observation comes from the baseline, fitted to
    the task's other episodes, and lies between the lowest and the highest of the returns that it is fitted to. Where
    no other episode is left to fit to, it is 0: the ends count as ends.
    """
    beyond = torch.zeros_like(episodes.rew)
    for k in sorted({task for task, _ in episodes.cut}):
        lasts = {episode: last for (task, episode), last in episodes.cut.items() if task == k}
        if len(lasts) == episodes.mask.shape[1]:
            continue
        # one more step, to hold the last observations; no step of an episode to be valued is fitted to
        alone = episodes.select_tasks([k]).at_length(episodes.spans[k])
        task = replace(alone, **{name: _one_step_longer(getattr(alone, name)) for name in Episodes.STEPPED})
        at = {episode: int(task.lengths[0, episode]) for episode in lasts}
        for episode, last in lasts.items():
            task.mask[0, episode] = 0
            task.obs[0, episode, at[episode]] = last
        returns = discounted_sum(task.rew * task.mask, discount)
        seen = returns[task.mask > 0]
        with threads_for(1):
            values = _fitted(task, returns, baseline)
        values = values.clamp(seen.min(), seen.max())
        for episode, length in at.items():
            beyond[k, episode, length - 1] = discount * values[0, episode, length]
    return beyond


def _one_step_longer(x: Tensor) -> Tensor:
    """Return `[K, E, T, ...]` with a step of zeros after the last."""
    return torch.cat([x, torch.zeros_like(x[:, :, :1])], dim=2)


def _fitted(episodes: Episodes, returns: Tensor, baseline: Baseline | None) -> Tensor:
    """Return the values that the baseline fits to the returns, `[K, E, T]`."""
    values = (baseline or BASELINES["linear"])(episodes, returns)
    if values.shape != returns.shape:
        raise UserError(f"a baseline returns values of shape {list(returns.shape)}, got {list(values.shape)}")
    return values


def _advantages(
    episodes: Episodes, discount: float, gae_lambda: float, baseline: Baseline | None, cut: bool
) -> tuple[Tensor, Tensor]:
    """Return normalised advantages, and the returns by the same λ, `[K, E, T]` each."""
    returns = discounted_sum(episodes.rew * episodes.mask, discount)
    values = _fitted(episodes, returns, baseline)
    adv = gae(episodes.rew, values, episodes.mask, discount, gae_lambda, cut)
    return normalise(adv, episodes.mask), (adv + values) * episodes.mask


def discounted_sum(x: Tensor, factor: float) -> Tensor:
    """Return y with y_t = x_t + factor y_{t+1} along the last axis."""
    from scipy.signal import lfilter  # here, because it alone takes half a second to import

    filtered = lfilter([1.0], [1.0, -factor], x.double().flip(-1).numpy(), axis=-1)
    return torch.from_numpy(filtered).flip(-1).to(x.dtype)


def gae(rew: Tensor, values: Tensor, mask: Tensor, discount: float, gae_lambda: float, cut: bool = False) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16), `[K, E, T]`.

    Args:
        rew: Rewards, `[K, E, T]`.
        values: State values, `[K, E, T]`.
        mask: 1 where a step was taken, `[K, E, T]`.
        discount: Discount factor γ.
        gae_lambda: Decay λ; 1 gives discounted return minus value.
        cut: Whether a time limit cuts what would have gone on. Then the last step tells what the one before has led to,
            and has no advantage itself.
    """
    values = values * mask
    # finite horizon: values are 0 after the end, where the task ends unless it is cut there; what an episode that
    # truncated itself would still have earned is in its last reward
    following = torch.nn.functional.pad(values[..., 1:], (0, 1))
    delta = (rew * mask + discount * following) - values
    if cut:
        delta = delta * torch.nn.functional.pad(mask[..., 1:], (0, 1))
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
        Fitted values, `[K, E, T]`, in the dtype of `returns`, also of steps that are masked.
    """
    features = baseline_features(obs)
    x = features * mask.flatten(1)[..., None]  # [K, N, F], masked rows are zero
    # twice the same column: a product with one column is rounded differently in a lone task than among others
    y = (returns * mask).flatten(1)[..., None].double().expand(-1, -1, 2)
    gram, moment = x.mT @ x, x.mT @ y
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    factor, failed = torch.linalg.cholesky_ex(gram + ridge * eye)
    while failed.any() and ridge < 1e6:
        ridge *= 10
        again = failed > 0  # not in the others: a task's values do not depend on those beside it
        factor[again], failed[again] = torch.linalg.cholesky_ex(gram[again] + ridge * eye)
    weights = torch.cholesky_solve(moment, factor)
    return (features @ weights)[..., 0].reshape(returns.shape).to(returns.dtype)


def network_baseline(obs: Tensor, mask: Tensor, returns: Tensor) -> Tensor:
    """Fit each task's returns by a network with one tanh layer on the linear baseline's features.

    All tasks start from the same weights, which no randomness but a constant seed chooses, and take
    the same number of Adam steps on all their data; features and returns are standardised per task.

    Args:
        obs: Observations, `[K, E, T, o]`.
        mask: 1 where a step was taken, `[K, E, T]`.
        returns: Discounted returns to fit, `[K, E, T]`.

    Returns:
        Fitted values, `[K, E, T]`, in the dtype of `returns`.
    """
    width, steps, lr = 32, 50, 0.05
    weight = (mask / mask.sum((1, 2), keepdim=True)).flatten(1)[..., None]  # [K, N, 1]
    x, _, _ = _standardise(baseline_features(obs), weight.double())
    y, mean, std = _standardise(returns.flatten(1)[..., None].double(), weight.double())
    x, y = x.to(returns.dtype), y.to(returns.dtype)
    (tasks, _, size), generator = x.shape, torch.Generator().manual_seed(0)
    sizes = [size * width, width, width, 1]
    bound = math.sqrt(3 / size)
    first = torch.empty(sizes[0], dtype=x.dtype).uniform_(-bound, bound, generator=generator)
    params = torch.cat([first, torch.zeros(sum(sizes[1:]), dtype=x.dtype)]).repeat(tasks, 1)

    def values(params: Tensor) -> Tensor:
        w1, b1, w2, b2 = params.split(sizes, dim=1)
        hidden = torch.tanh(torch.baddbmm(b1[:, None], x, w1.view(tasks, size, width)))
        return (hidden * w2[:, None]).sum(-1, keepdim=True) + b2[:, None]

    state = adam_state(params)
    for _ in range(steps):
        params = params.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(((values(params) - y).square() * weight).sum(), params)
        # the larger epsilon keeps Adam from taking the rounding of gradients that should be 0 for their sign
        params, state = adam(params.detach(), gradient, state, lr, epsilon=1e-4)
    return (values(params) * std + mean).view_as(returns).to(returns.dtype)


def _standardise(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x `[K, N, f]` with weighted mean 0 and standard deviation 1 in each task, and what they were."""
    mean = (x * weight).sum(1, keepdim=True)
    std = ((x - mean).square() * weight).sum(1, keepdim=True).sqrt()
    return (x - mean) / (std + 1e-6), mean, std


def picture_baseline(name: str, shape: tuple[int, ...]) -> Baseline:
    """Return a baseline of ours on pictures: instead of numbers it sees means over 4 x 4 fields.

    Args:
        name: Name of the baseline.
        shape: Shape of a picture, `(h, w, c)`.
    """

    def fit(episodes: Episodes, returns: Tensor) -> Tensor:
        pixels = episodes.obs.flatten(0, 2).unflatten(-1, shape).movedim(-1, 1)  # [K E T, c, h, w]
        fields = torch.nn.functional.adaptive_avg_pool2d(pixels, 4).flatten(1) / 255
        return BASELINES[name](replace(episodes, obs=fields.view(*episodes.mask.shape, -1)), returns)

    return fit


BASELINES: dict[str, Baseline] = {
    "linear": lambda episodes, returns: linear_baseline(episodes.obs, episodes.mask, returns),
    "network": lambda episodes, returns: network_baseline(episodes.obs, episodes.mask, returns),
}
"""Every baseline by name."""


def baseline_features(obs: Tensor) -> Tensor:
    """Return the baseline's features of observations `[K, E, T, o]`, `[K, E T, 2 o + 4]` in float64."""
    tasks, episodes, time, size = obs.shape
    o = obs.double().clamp(-10, 10)
    t = (torch.arange(time, dtype=torch.float64) / 100)[:, None]
    clock = torch.cat([t, t**2, t**3, torch.ones_like(t)], dim=-1).expand(tasks, episodes, time, 4)
    return torch.cat([o, o.square(), clock], dim=-1).view(tasks, episodes * time, 2 * size + 4)
