"""Step sizes that halve: the same after an update, a restart, and with whatever number of steps an update takes."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

import metarl
from metarl import UserError
from metarl.methods import Reptile
from metarl.outer import PPO, Adam

SLOPE = torch.tensor([3.0, -0.5], dtype=torch.float64)


def sloping():
    """An objective whose gradient is the same everywhere: each step of Adam is as long as the step size."""
    return SimpleNamespace(
        parts=lambda wanted: wanted,
        loss_and_gradient=lambda params, part=None: (0.0, SLOPE),
        loss_and_kl=lambda params: (0.0, 0.0),
    )


@pytest.mark.parametrize(
    ("outer", "steps"),
    [
        (Adam(outer_lr=0.1, lr_half_life=2), 1),
        (PPO(outer_lr=0.1, lr_half_life=2, epochs=3), 3),
        (PPO(outer_lr=0.1, lr_half_life=2, epochs=3, minibatches=4), 12),
    ],
    ids=["adam", "ppo", "minibatches"],
)
def test_the_step_size_halves_by_iterations_and_not_by_steps(outer, steps):
    params = torch.zeros(2, dtype=torch.float64)
    state = outer.initial_state(params)
    sizes = []
    for _ in range(5):
        moved, state, metrics = outer.update(sloping(), params, state)
        sizes.append(metrics["learning_rate"])
        assert_close(moved - params, -steps * sizes[-1] * SLOPE.sign(), rtol=1e-6, atol=0)
        params = moved
    assert sizes == pytest.approx([0.1 * 0.5 ** (i / 2) for i in range(5)])


def test_reptile_over_adam_heeds_it():
    method = Reptile(inner_lr=0.1, outer=Adam(outer_lr=0.1, lr_half_life=1))
    params = torch.zeros(2, dtype=torch.float64)
    state = method.initial_state(params)
    for size in (0.1, 0.05, 0.025):
        objective = SimpleNamespace(adapted=lambda at=params: at + SLOPE)
        moved, state, metrics = method.update(objective, params, state)
        assert_close(moved - params, size * SLOPE.sign(), rtol=1e-6, atol=0)
        assert metrics["learning_rate"] == size
        params = moved


def test_a_run_begun_anew_in_the_middle_goes_on_with_the_smaller_step(tmp_path):
    settings = {"tasks": 2, "episodes": 2, "horizon": 5, "eval_tasks": 1, "seed": 3, "lr_half_life": 1}
    whole = metarl.ProMP("metarl/PointNavigation-v0", **settings).learn(4)
    model = metarl.ProMP("metarl/PointNavigation-v0", **settings).learn(2)
    model.save(tmp_path / "half.safetensors")
    resumed = metarl.load(tmp_path / "half.safetensors").learn(2)
    for name, value in whole.trainer.params.items():
        assert torch.equal(value, resumed.trainer.params[name]), name


def test_without_it_nothing_changes():
    params = torch.zeros(2, dtype=torch.float64)
    moved, _, metrics = Adam(outer_lr=0.1).update(sloping(), params, Adam().initial_state(params))
    assert_close(moved, -0.1 * SLOPE.sign(), rtol=1e-6, atol=0)
    assert "learning_rate" not in metrics
    with pytest.raises(UserError, match="lr_half_life must be at least 0"):
        PPO(lr_half_life=-1)


def test_it_halves_also_where_the_bound_on_an_update_puts_adam_back():
    params, outer = torch.zeros(2, dtype=torch.float64), PPO(outer_lr=0.1, epochs=2, lr_half_life=1, max_kl=0.1)
    state, sizes = outer.initial_state(params), []
    cliff = sloping()
    cliff.loss_and_kl = lambda at: (0.0, 1.0)
    for _ in range(3):
        _, state, metrics = outer.update(cliff, params, state)
        sizes.append(metrics["learning_rate"])
        assert state["t"] == 0 and metrics["halvings"] > 0
    assert sizes == [0.1, 0.05, 0.025]


def test_a_checkpoint_of_before_updates_were_counted_goes_on_by_adams_count():
    params, outer = torch.zeros(2, dtype=torch.float64), PPO(outer_lr=0.1, epochs=2, lr_half_life=1)
    state = outer.initial_state(params)
    for _ in range(2):
        params, state, _ = outer.update(sloping(), params, state)
    older = {name: value for name, value in state.items() if name != "updates"}
    now, then = (outer.update(sloping(), params, kept)[2]["learning_rate"] for kept in (state, older))
    assert now == then == 0.025
    settings = {"tasks": 2, "episodes": 2, "horizon": 5, "eval_tasks": 1, "lr_half_life": 1}
    model = metarl.ProMP("metarl/PointNavigation-v0", **settings).learn(1)
    saved = model.trainer.snapshot()
    saved.outer.pop("updates")
    model.trainer.restore(saved)
    assert model.learn(1).trainer.outer_state["updates"] == 2
    model.close()
