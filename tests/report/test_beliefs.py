"""Pictures of what an agent believes: the reward expected under its belief, from the prior on."""

import math

import numpy as np
import pytest
import torch
from metarl_envs.families import navigation
from torch.func import functional_call

import metarl
from metarl import UserError
from metarl.cli import main
from metarl.core import params as P
from metarl.report.beliefs import plot_beliefs
from metarl.rl.belief import Decoder

SMALL = {"tasks": 4, "episodes": 2, "lifetime": 3, "hidden": (16, 8), "seed": 0}


def test_without_rewards_the_decoder_says_which_it_expects():
    decoder = Decoder(2, 3, 8, torch.Generator().manual_seed(0)).double()
    g = torch.Generator().manual_seed(1)
    latents, steps = (torch.randn(2, 1, n, size, generator=g, dtype=torch.float64) for n, size in ((1, 2), (5, 3)))
    stacked = P.stack(P.params_of(decoder), 2)
    expected = functional_call(decoder, stacked, (latents, steps))
    assert expected.shape == (2, 1, 1, 5)
    density = functional_call(
        decoder, stacked, (latents, steps, expected[:, :, 0])
    )  # a normal's density is highest at its mean
    assert torch.allclose(density, torch.tensor(-0.5 * math.log(2 * math.pi), dtype=torch.float64))


@pytest.mark.parametrize("env", ["metarl/GridNavigation-v0", "metarl/SparseNavigation-v0"])
def test_a_picture_begins_with_the_prior_and_follows_the_path(env):
    model = metarl.VariBAD(env, horizon=8, **SMALL).learn(3)
    figure = plot_beliefs(model, steps=2, tasks=3)
    axes = np.reshape(figure.axes[:-1], (3, 6))  # four moments of the first episode, then two beginnings
    titles = [axis.get_title() for axis in axes[0]]
    assert titles == [
        "episode 1, step 0",
        *(f"episode 1, step {n}" for n in (2, 4, 6)),
        *("episode 2, step 0",),
        *("episode 3, step 0",),
    ]
    earned = np.array([[axis.collections[0].get_array() for axis in row] for row in axes])
    places = earned.shape[2:]
    assert places == ((5, 5) if "Grid" in env else (33, 33))
    assert np.allclose(earned[:, 0], earned[:1, 0], atol=1e-6)  # nobody knows anything yet
    assert not np.allclose(earned[:, 4], earned[:1, 4], atol=1e-6)
    for row in axes:
        lengths = [len(axis.lines[0].get_xdata()) for axis in row]
        assert lengths == [1, 3, 5, 7, 1, 1]
        assert all(not axis.lines[0].get_xydata()[0].any() for axis in row)  # each episode begins at the origin


def test_episodes_that_end_early_begin_where_they_do(monkeypatch):
    monkeypatch.setattr(navigation, "GOAL_BOX", 0.2)  # so that some meet their goal by chance
    model = metarl.VariBAD("metarl/PointNavigation-v0", horizon=20, **SMALL).learn(3)
    figure = plot_beliefs(model, steps=2, tasks=12)
    axes = np.reshape(figure.axes[:-1], (12, 6))
    paths = [[axis.lines[0].get_xydata() for axis in row] for row in axes]
    assert all(not path[0].any() for row in paths for path in row)
    assert len({len(row[3]) for row in paths}) > 1
    earned = np.array([[axis.collections[0].get_array() for axis in row] for row in axes])
    assert np.allclose(earned[:, 0], earned[:1, 0], atol=1e-6)
    assert not any(np.allclose(row[column], row[0], atol=1e-6) for row in earned for column in (4, 5))  # no prior again


def test_the_command_draws_beliefs_and_others_are_refused(tmp_path, capsys):
    model = metarl.VariBAD(
        "metarl/GridNavigation-v0", horizon=4, log_dir=tmp_path / "run", **SMALL, eval_tasks=1
    ).learn(1)
    assert main(["eval", str(tmp_path / "run"), "--tasks", "2", "--figure", str(tmp_path / "beliefs.png")]) == 0
    assert "wrote " in capsys.readouterr().out
    model.close()
    with pytest.raises(UserError, match="VariBAD's policies only"):
        plot_beliefs(metarl.RL2("metarl/GridNavigation-v0", horizon=4, **SMALL))
    with pytest.raises(UserError, match="2-D navigation only"):
        plot_beliefs(metarl.VariBAD("metarl/Bandit-v0", **SMALL))
