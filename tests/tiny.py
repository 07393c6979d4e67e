"""Tiny problems in float64, small enough for finite differences."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces

from metarl.core import params as P
from metarl.methods import CAVIA, MAML
from metarl.rl.episodes import Episodes
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.rl.losses import PolicyGradient
from metarl.rl.policies import distribution, make_policy
from metarl.workers.batch_loss import BatchLoss
from metarl.workers.local import Workers
from metarl.workers.meta_batch import MetaBatch
from metarl.workers.objective import WorkersObjective
from metarl.workers.worker import Worker

K, E, T, OBS = 3, 2, 5, 2


def policy(discrete: bool = False, hidden: tuple[int, ...] = (4,), context: int = 0, expects_reward: bool = False):
    """A tiny policy in float64."""
    actions = spaces.Discrete(3) if discrete else spaces.Box(-1.0, 1.0, (2,))
    return make_policy(
        spaces.Box(-1.0, 1.0, (OBS,)), actions, hidden, seed=1, context=context, expects_reward=expects_reward
    ).double()


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


def objective(
    method: MAML,
    discrete: bool = False,
    inner_loss="likelihood-ratio",
    split: int | None = None,
    reward_coef: float = 0,
) -> tuple[WorkersObjective, torch.Tensor]:
    """The meta-objective of workers that hold data played by their own adapted policies, and the params that played."""
    net = policy(discrete, context=3 if isinstance(method, CAVIA) or reward_coef else 0, expects_reward=reward_coef > 0)
    params = method.initial(P.params_of(net))
    losses = PolicyGradient(net, inner_loss, reward_coef)
    inner_loop = PolicyInnerLoop(sampler=None, losses=losses, method=method, discount=0.9, gae_lambda=1.0)  # type: ignore
    adapted, support = P.stack(params, K), []
    for step in range(method.inner_steps):
        support.append(episodes(net, losses.own(adapted), seed=step))
        adapted = method.inner_step(losses.loss, adapted, support[-1])
    query = episodes(net, losses.own(adapted), seed=99)
    vector = P.flatten(params.values())
    whole = MetaBatch(0, tuple(range(K)), tuple(support), query, vector, adapted)
    shares = [range(K)] if split is None else [range(split), range(split, K)]
    return holding(inner_loop, params, whole, shares), vector


def holding(inner_loop, params, whole: MetaBatch, shares) -> WorkersObjective:
    """The meta-objective of workers that hold shares of a meta-batch."""
    parts = []
    for share in shares:
        worker = Worker(inner_loop, params, seed=0, tasks=len(whole), share=share)
        worker.hold(whole.select_tasks(share))
        parts.append(worker)
    return WorkersObjective(Workers(parts))


def batch_loss(objective: WorkersObjective):
    """The loss of all tasks of the only worker's meta-batch at once, whatever their lengths."""
    (worker,) = objective.workers.workers
    return BatchLoss(worker.inner_loop, worker.like, worker.seed, worker.batch)


def spoil(objective: WorkersObjective, task: int) -> None:
    """Make an advantage of a task's query data NaN, whoever owns it."""
    for worker in objective.workers.workers:
        if task in worker.batch.tasks:
            worker.batch.query.adv[worker.batch.tasks.index(task), :, 0] = float("nan")
            worker.hold(worker.batch)


def some_tasks(data: Episodes, share: range) -> Episodes:
    """The episodes of some tasks."""
    fields = ("obs", "act", "rew", "mask", "logp", "adv")
    return Episodes(**{name: getattr(data, name)[share.start : share.stop] for name in fields})


def finite_difference(f, x: torch.Tensor, h: float = 1e-6) -> torch.Tensor:
    """Central differences of a scalar function of a vector."""
    eye = torch.eye(len(x), dtype=x.dtype)
    return torch.tensor([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in eye], dtype=x.dtype)
