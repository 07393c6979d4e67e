"""PPO's bound on how far an update may take the adapted policies."""

import math

import pytest
import tiny
import torch

from metarl import UserError
from metarl.methods import MAML
from metarl.outer import PPO


def test_an_update_beyond_the_bound_is_halved_and_forgotten_by_adam():
    objective, params = tiny.objective(MAML(inner_lr=0.3, outer=PPO()))
    outer = PPO(outer_lr=0.1, epochs=3)
    state = outer.initial_state(params)
    free, moved_state, metrics = outer.update(objective, params, state)
    full = metrics["approx_kl"]
    bounded = PPO(outer_lr=0.1, epochs=3, max_kl=full / 3)
    half, kept, metrics = bounded.update(objective, params, state)
    assert metrics["halvings"] == 1 and 0 < metrics["approx_kl"] <= full / 3
    torch.testing.assert_close(half, (params + free) / 2)
    assert kept is state and moved_state["t"] == 3
    loss, kl = objective.loss_and_kl(half)
    assert kl == metrics["approx_kl"] and metrics["surrogate_improvement"] == metrics["surrogate_loss"] - loss


def test_an_update_within_the_bound_is_that_without_it():
    objective, params = tiny.objective(MAML(inner_lr=0.3, outer=PPO()))
    outer = PPO(epochs=2)
    free, _, metrics = outer.update(objective, params, outer.initial_state(params))
    assert "halvings" not in metrics
    bounded = PPO(epochs=2, max_kl=2 * metrics["approx_kl"])
    same, state, metrics = bounded.update(objective, params, outer.initial_state(params))
    assert torch.equal(free, same) and metrics["halvings"] == 0 and state["t"] == 2


class Cliff:
    """A problem whose policies are nowhere near those that played, but where they played."""

    def parts(self, wanted):
        return 1

    def loss_and_gradient(self, params, part=None):
        return 0.0, torch.ones_like(params)

    def loss_and_kl(self, params):
        return 0.0, 0.0 if not params.any() else math.nan


def test_where_nothing_is_near_enough_the_params_stay():
    params = torch.zeros(2)
    outer = PPO(max_kl=1.0)
    stayed, _, metrics = outer.update(Cliff(), params, outer.initial_state(params))
    assert torch.equal(stayed, params) and metrics["approx_kl"] == 0.0 and metrics["halvings"] == 10


def test_the_bound_is_positive():
    with pytest.raises(UserError, match="max_kl must be positive and finite, got 0"):
        PPO(max_kl=0)
