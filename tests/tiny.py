"""Tiny problems in float64, small enough for finite differences."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces

from metarl.core import params as P
from metarl.methods import MAML
from metarl.rl.episodes import Episodes
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.rl.losses import PolicyGradient
from metarl.rl.policies import distribution, make_policy
from metarl.workers.local import Workers
from metarl.workers.worker import Worker

K, E, T, OBS = 3, 2, 5, 2


def policy(discrete: bool = False, hidden: tuple[int, ...] = (4,)):
    """A tiny policy in float64."""
    actions = spaces.Discrete(3) if discrete else spaces.Box(-1.0, 1.0, (2,))
    return make_policy(spaces.Box(-1.0, 1.0, (OBS,)), actions, hidden, seed=1).double()


def episodes(net, params, seed: int, tasks: int = K) -> Episodes:
    """Episodes of ragged length with random observations and advantages, played by params `[K, ...]`."""
    g = torch.Generator().manual_seed(seed)
    shape = (tasks, E, T)
    lengths = torch.randint(2, T + 1, (tasks, E), generator=g)
    mask = (torch.arange(T) < lengths[..., None]).double()
    obs = torch.randn(*shape, OBS, generator=g, dtype=torch.float64) * mask[..., None]
    with torch.no_grad():
        actions = distribution(net, params, obs.flatten(1, 2))
        noise = torch.from_numpy(net.noise(np.random.default_rng(seed), (tasks, E * T))).double()
        act = actions.sample(noise)
        logp = actions.log_prob(act).view(shape) * mask
        act = act.view(*shape, *act.shape[2:])
    return Episodes(
        obs=obs,
        act=act,
        rew=torch.randn(shape, generator=g, dtype=torch.float64) * mask,
        mask=mask,
        logp=logp,
        adv=torch.randn(shape, generator=g, dtype=torch.float64) * mask,
    )


def workers(
    method: MAML, discrete: bool = False, inner_loss="likelihood-ratio", split: int | None = None
) -> tuple[Workers, torch.Tensor]:
    """Workers that hold data played by their own adapted policies, and the params that played it."""
    net = policy(discrete)
    params = method.initial(P.params_of(net))
    problem = PolicyGradient(net, inner_loss)
    inner_loop = PolicyInnerLoop(sampler=None, problem=problem, method=method, discount=0.9, gae_lambda=1.0)  # type: ignore
    adapted, support = P.stack(params, K), []
    for step in range(method.inner_steps):
        support.append(episodes(net, problem.own(adapted), seed=step))
        adapted = method.inner_step(problem.loss, adapted, support[-1])
    query = episodes(net, problem.own(adapted), seed=99)
    shares = [range(K)] if split is None else [range(split), range(split, K)]
    parts = []
    for share in shares:
        worker = Worker(inner_loop, params, seed=0, tasks=K, share=share)
        worker.support = [some_tasks(data, share) for data in support]
        worker.query = some_tasks(query, share)
        parts.append(worker)
    return Workers(parts), P.flatten(params.values())


def some_tasks(data: Episodes, share: range) -> Episodes:
    """The episodes of some tasks."""
    fields = ("obs", "act", "rew", "mask", "logp", "adv")
    return Episodes(**{name: getattr(data, name)[share.start : share.stop] for name in fields})


def finite_difference(f, x: torch.Tensor, h: float = 1e-6) -> torch.Tensor:
    """Central differences of a scalar function of a vector."""
    eye = torch.eye(len(x), dtype=x.dtype)
    return torch.tensor([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in eye], dtype=x.dtype)
