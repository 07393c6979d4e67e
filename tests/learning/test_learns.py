"""Learning, on tasks whose best returns are known."""

from dataclasses import replace

import pytest

import metarl
from metarl.experiment.presets import PRESETS
from metarl.experiment.settings import with_method
from metarl.experiment.trainer import Trainer


def test_maml_learns_a_small_navigation_in_seconds():
    """Goals 0.5 or so away in 20 steps: standing still returns about -7.7, the best policies about -1."""
    model = metarl.MAML(
        "metarl/PointNavigation-v0", inner_lr=0.5, tasks=10, episodes=10, horizon=20, action_scale=0.1, hidden=(32, 32)
    )
    before = metarl.adaptation_curve(model, steps=1, tasks=20, episodes=10)
    model.learn(iterations=25)
    after = metarl.adaptation_curve(model, steps=1, tasks=20, episodes=10)
    assert after.mean[1] > after.mean[0] + 2  # one step helps
    assert after.mean[1] > before.mean[1] + 2.5  # and it was learned that it does
    assert after.mean[1] > -5.5


def test_rl2_learns_a_small_navigation_in_seconds():
    """Its memory finds the goal: later episodes are better than the first, and than standing still.

    A critic would have to learn first what things are worth; in so few iterations the fitted baseline is ahead.
    """
    sizes = {"lifetime": 3, "tasks": 20, "episodes": 4, "horizon": 20, "hidden": (32, 32)}
    model = metarl.RL2("metarl/PointNavigation-v0", action_scale=0.1, vf_coef=0.0, **sizes)
    model.learn(iterations=20)
    curve = metarl.adaptation_curve(model, steps=2, tasks=20, episodes=5)
    assert curve.mean[2] > curve.mean[0] + 0.5
    assert curve.mean[2] > -6


@pytest.mark.slow
def test_rl2_searches_a_grid_and_comes_back_to_its_goal():
    """Who knows the goal gets 11.07 an episode on average, 16 - 1.1 d + 0.1 for a goal d steps away."""
    trainer = Trainer(PRESETS["grid-navigation"])
    for _ in range(50):
        trainer.iterate()
    curve = trainer.evaluate()
    assert curve.mean[0] > 1.5 and curve.mean[1] > 5
    assert 9 < curve.mean[3] < 11.6


@pytest.mark.slow
def test_varibad_searches_a_grid_and_comes_back_to_its_goal():
    config = with_method(PRESETS["grid-navigation"], "varibad")
    trainer = Trainer(replace(config, method=replace(config.method, elbo_lr=3e-3)))
    for _ in range(100):
        trainer.iterate()
    curve = trainer.evaluate()
    assert curve.mean[1] > curve.mean[0] + 1 and curve.mean[3] > 3


@pytest.mark.slow
def test_point_navigation_reaches_its_figures_within_60_iterations():
    trainer = Trainer(PRESETS["point-navigation"])
    for _ in range(60):
        trainer.iterate()
    curve = trainer.evaluate()
    assert -46 < curve.mean[0] < -34
    assert curve.mean[1] > -18


@pytest.mark.slow
def test_half_cheetah_direction_adapts_after_2_million_steps():
    trainer = Trainer(PRESETS["half-cheetah-dir"])
    for _ in range(100):
        trainer.iterate()
    curve = trainer.evaluate()
    assert abs(curve.mean[0]) < 40
    assert curve.mean[1] > 220
