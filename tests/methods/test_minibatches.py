"""Minibatches: parts of the objective that add up to it, chosen by seed, iteration, epoch and task alone."""

import math

import pytest
import tiny
import torch
from gymnasium import spaces
from torch.testing import assert_close

from metarl import UserError
from metarl.core import params as P
from metarl.methods import MAML, RL2
from metarl.outer import PPO
from metarl.rl.episodes import Episodes
from metarl.rl.lifetimes import LifetimeGradient
from metarl.rl.memory_loop import MemoryInnerLoop
from metarl.rl.recurrent import RecurrentPolicy
from metarl.workers.meta_batch import MetaBatch

EPISODES = 5


def lifetimes(shares=(range(3),)):
    """The meta-objective of an RL² policy in float64 on random lifetimes of ragged length, and its params."""
    policy = RecurrentPolicy(spaces.Box(-1, 1, (2,)), spaces.Discrete(3), (3,), seed=0).double()
    params = P.params_of(policy)
    inner_loop = MemoryInnerLoop(None, LifetimeGradient(policy), RL2(vf_coef=0), discount=0.9, gae_lambda=0.9)  # type: ignore
    g = torch.Generator().manual_seed(4)
    lengths = torch.randint(1, 7, (3, EPISODES, 1), generator=g)
    mask = (torch.arange(6) < lengths).double()
    values = {n: torch.randn(3, EPISODES, 6, generator=g, dtype=torch.float64) * mask for n in ("rew", "logp", "adv")}
    obs = torch.randn(3, EPISODES, 6, 7, generator=g, dtype=torch.float64) * mask[..., None]
    act = torch.randint(3, mask.shape, generator=g)
    whole = Episodes(obs=obs, act=act, mask=mask, **values)
    vector = P.flatten(params.values())
    batch = MetaBatch(0, (0, 1, 2), (), whole, vector, {})
    return tiny.holding(inner_loop, params, batch, shares), vector


def support_and_query():
    """The meta-objective of MAML with PPO, and the params that played."""
    return tiny.objective(MAML(inner_lr=0.3, outer=PPO()))


@pytest.mark.parametrize(("problem", "parts"), [(lifetimes, 3), (support_and_query, 2)], ids=["rl2", "ppo-maml"])
def test_the_gradient_of_a_part_is_its_derivative_and_the_parts_add_up(problem, parts):
    objective, played = problem()
    g = torch.Generator().manual_seed(5)
    here = played + 0.02 * torch.randn(played.shape, dtype=played.dtype, generator=g)
    directions = torch.randn(6, len(played), dtype=played.dtype, generator=g)
    losses, gradients = [], []
    for index in range(parts):
        part = (1, index, parts)
        loss, gradient = objective.loss_and_gradient(here, part)
        numeric = tiny.finite_difference(
            lambda x, part=part: objective.loss_and_gradient(here + x @ directions, part)[0], directions.new_zeros(6)
        )
        assert_close(directions @ gradient, numeric, rtol=1e-5, atol=1e-8)
        losses.append(loss)
        gradients.append(gradient)
    whole_loss, whole = objective.loss_and_gradient(here)
    assert_close(torch.stack(gradients).mean(0), whole)
    assert sum(losses) / parts == pytest.approx(whole_loss)
    assert (gradients[0] - gradients[1]).norm() > 0.1 * whole.norm()


def test_parts_do_not_depend_on_who_owns_the_tasks():
    (one, params), (two, _) = lifetimes(), lifetimes((range(1), range(1, 3)))
    for part in [(0, 0, 2), (0, 1, 2), (1, 0, 2)]:
        assert_close(one.loss_and_gradient(params, part), two.loss_and_gradient(params, part))
    assert one.loss_and_gradient(params, (0, 0, 2))[0] != one.loss_and_gradient(params, (1, 0, 2))[0]


def test_a_task_whose_gradient_is_not_finite_in_a_part_is_dropped():
    (ours, params), (theirs, _) = lifetimes(), lifetimes((range(1), range(2, 3)))
    ours.workers.on_nan = "drop"
    theirs.workers.remaining = 2
    tiny.spoil(ours, 1)
    for part in [(0, 0, 2), (0, 1, 2)]:
        assert_close(ours.loss_and_gradient(params, part), theirs.loss_and_gradient(params, part))
    assert list(ours.workers.dropped) == [1]


def test_what_is_logged_is_finite_after_a_task_was_dropped():
    ours, params = lifetimes()
    ours.workers.on_nan, ours.workers.episodes = "drop", EPISODES  # they were never collected
    tiny.spoil(ours, 1)
    outer = PPO(epochs=1, minibatches=2)
    _, _, metrics = outer.update(ours, params, outer.initial_state(params))
    assert list(ours.workers.dropped) == [1] and all(math.isfinite(value) for value in metrics.values())


class Counted:
    """A problem whose data can be cut into three parts."""

    def __init__(self):
        self.asked = []

    def parts(self, wanted):
        return min(wanted, 3)

    def loss_and_gradient(self, params, part=None):
        self.asked.append(part)
        return float(params.square().sum()), 2 * params

    def loss_and_kl(self, params):
        return float(params.square().sum()), 0.0


def test_each_epoch_sees_each_part_once():
    problem, params = Counted(), torch.ones(2)
    outer = PPO(epochs=2, minibatches=8)
    _, state, _ = outer.update(problem, params, outer.initial_state(params))
    assert problem.asked == [(epoch, index, 3) for epoch in range(2) for index in range(3)]
    assert state["t"] == 6
    whole = Counted()
    PPO(epochs=2).update(whole, params, outer.initial_state(params))
    assert whole.asked == [None, None]
    with pytest.raises(UserError, match="minibatches must be at least 1, got 0"):
        PPO(minibatches=0)
