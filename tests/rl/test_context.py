"""A context: inputs of the first layer that are params, the same in all states."""

import dataclasses

import gymnasium
import metarl_envs  # noqa: F401
import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from torch import nn
from torch.testing import assert_close

import metarl
from metarl.core import params as P
from metarl.core.layers import mlp
from metarl.experiment.presets import find_preset
from metarl.experiment.settings import with_method
from metarl.methods import CAVIA
from metarl.report.analysis import analyse
from metarl.rl.policies import distribution, make_policy

ENV = "metarl/PointNavigation-v0"
SMALL = {"tasks": 2, "episodes": 2, "horizon": 5, "hidden": (8,)}


def test_it_is_an_input_beside_the_others():
    net = mlp([3, 5, 2], torch.Generator().manual_seed(0), context=4)
    net[0].context.data.normal_(generator=torch.Generator().manual_seed(1))
    plain = mlp([7, 5, 2], torch.Generator())
    plain.load_state_dict(
        {name: value for name, value in net.state_dict().items() if name.startswith("2.")}, strict=False
    )
    plain[0].weight.data = torch.cat([net[0].weight, net[0].into], dim=1)
    plain[0].bias.data = net[0].bias
    x = torch.randn(6, 3)
    assert_close(net(x), plain(torch.cat([x, net[0].context.expand(6, 4)], dim=1)))


def test_without_one_the_weights_are_as_they_were():
    one, other = (mlp([3, 5, 2], torch.Generator().manual_seed(0), context=size) for size in (0, 4))
    assert [name for name, _ in one.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(torch.equal(value, other.get_parameter(name)) for name, value in one.named_parameters())


@pytest.mark.parametrize("actions", [spaces.Box(-1, 1, (2,)), spaces.Discrete(3)])
def test_playing_gives_the_numbers_of_the_update(actions):
    policy = make_policy(spaces.Box(-1, 1, (3,)), actions, (8, 8), seed=0, context=4)
    generator = torch.Generator().manual_seed(1)
    params = {name: torch.randn(5, *value.shape, generator=generator) for name, value in policy.named_parameters()}
    obs = torch.randn(5, 7, 3, generator=generator)
    both = distribution(policy, params, obs).parameters, policy.prepared(params)(obs).parameters
    assert all(torch.equal(one, other) for one, other in zip(*both, strict=True))


def test_the_mean_reward_moves_the_context_as_far_as_it_was_not_expected():
    method, net = CAVIA(inner_lr=0.3), tiny.policy(context=3, expects_reward=True)
    params = P.stack(P.params_of(net), tiny.K)
    params["mean.0.context"] = torch.randn(tiny.K, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    data = tiny.episodes(net, params, seed=0)
    plain, both = (method.inner_step(tiny.PolicyGradient(net, reward_coef=c).loss, params, data) for c in (0.0, 0.7))
    weight, context = params["reward.weight"], params["mean.0.context"]
    missed = data.rew.sum((1, 2)) / data.mask.sum((1, 2)) - (weight * context).sum(-1) - params["reward.offset"]
    moved = both["mean.0.context"] - plain["mean.0.context"]
    assert_close(moved, 0.3 * 0.7 * missed[:, None] * weight)


def test_steps_beyond_those_trained_follow_the_policy_gradient_alone():
    loop = metarl.MAML(ENV, context=3, reward_coef=1.0, later_lr=1.0, **SMALL).trainer.build_inner_loop()
    net = loop.network
    params = P.stack(P.params_of(net), 2)
    data = loop._episodes(params, np.array([[0.3, 0.2], [-0.4, 0.1]]), iter(np.random.default_rng(0).spawn(2)))
    without = dataclasses.replace(loop, losses=dataclasses.replace(loop.losses, reward_coef=0.0))
    first, second, plain = loop.step(params, data, 0), loop.step(params, data, 1), without.step(params, data, 0)
    assert all(torch.equal(second[name], plain[name]) for name in params)
    assert not torch.equal(first["mean.0.context"], second["mean.0.context"])


def test_rewards_that_differ_by_a_constant_are_told_apart_by_the_context_alone():
    """A baseline takes the constant out of a policy gradient."""

    def adapted(constant, **settings):
        model = metarl.MAML(lambda: paid(constant), context=4, hidden=(8,), tasks=2, episodes=4, **settings)
        return model.adapt([0.3, 0.2]).params

    same, other = (adapted(constant) for constant in (0.0, -2.0))
    assert all(torch.allclose(same[name], other[name], atol=1e-3) for name in same)
    same, other = (adapted(constant, reward_coef=1.0) for constant in (0.0, -2.0))
    assert not torch.allclose(same["mean.0.context"], other["mean.0.context"], atol=0.05)


def paid(constant):
    """2-D navigation with a constant on every reward."""
    env = gymnasium.make(ENV, max_episode_steps=20)
    return gymnasium.wrappers.TransformReward(env, lambda reward: float(reward) + constant)


class Switched(nn.Module):
    """A network of one's own with a context that scales its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.context = nn.Linear(2, 2), nn.Parameter(torch.zeros(2))

    def forward(self, obs):
        return metarl.Gaussian(self.layer(obs) * (1 + self.context), torch.zeros(1, 2))


def test_cavia_takes_a_network_of_ones_own_that_has_a_context():
    model = metarl.CAVIA(ENV, policy=lambda *_: Switched(), tasks=2, episodes=2, horizon=5).learn(2)
    adapted, before = model.adapt([0.3, 0.2]).params, model.policy.params
    changed = {name for name in before if not torch.equal(adapted[name], before[name])}
    assert changed == {"network.context"}


def test_cavia_has_a_context_where_nothing_is_said():
    assert metarl.CAVIA(ENV, **SMALL).trainer.params["mean.0.context"].shape == (16,)
    assert metarl.CAVIA(ENV, context=3, **SMALL).trainer.params["mean.0.context"].shape == (3,)


def test_the_expected_reward_trains_and_is_left_out_of_an_export(tmp_path):
    fresh, model = (metarl.ProMP(ENV, context=3, reward_coef=1.0, **SMALL) for _ in range(2))
    model.learn(1)
    model.export_sb3(tmp_path / "model.zip", task=[0.3, 0.2])
    again = PPO.load(tmp_path / "model.zip", device="cpu")
    obs = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    ours, _ = model.adapt([0.3, 0.2]).predict(obs, deterministic=True)
    np.testing.assert_allclose(again.predict(obs, deterministic=True)[0], ours, atol=1e-6)
    moved = [
        not torch.equal(model.trainer.params[name], fresh.trainer.params[name])
        for name in ("reward.weight", "reward.offset")
    ]
    assert all(moved)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (metarl.ProMP, {}, "needs a context; give context at least 1"),
        (metarl.ProMP, {"context": 3, "policy": lambda *_: Switched()}, "for the built-in policy only"),
        (
            metarl.MAML,
            {"context": 3, "inner_steps": 2},
            "a single inner step of second order that moves the context, maml",
        ),
        (metarl.FOMAML, {"context": 3}, "that moves the context, fomaml has none"),
        (metarl.ANIL, {"context": 3}, "that moves the context, anil has none"),
        (metarl.Reptile, {"context": 3}, "that moves the context, reptile has none"),
    ],
)
def test_who_does_not_hear_rewards_is_refused(kind, settings, message):
    with pytest.raises(metarl.UserError, match=message):
        kind(ENV, reward_coef=1.0, **settings, tasks=2, episodes=2, horizon=5)


@pytest.mark.parametrize("method", ["fomaml", "anil", "reptile", "rl2", "varibad"])
def test_a_preset_whose_context_tells_rewards_goes_without_under_them(method):
    config = with_method(find_preset("half-cheetah-vel"), method)
    assert (config.context, config.reward_coef) == (0, 0.0)
    config = with_method(find_preset("half-cheetah-vel"), "cavia")
    assert (config.context, config.reward_coef) == (16, 16.0)


def test_what_the_context_tells_is_no_layer_of_an_analysis(tmp_path):
    model = metarl.ProMP(ENV, context=3, reward_coef=1.0, **SMALL).learn(1)
    found = analyse(model, steps=1, tasks=2)
    assert found.cka.shape == (2, 2) and len(found.frozen) == 3


def test_cavia_learns_from_examples_with_a_context_of_its_own():
    assert metarl.FewShot("sinusoid", method="cavia").trainer.params["layers.0.context"].shape == (16,)
    letters = with_method(find_preset("glyphs-5way-1shot"), "cavia")
    assert (letters.network, letters.context_size) == ("mlp", 16)


def test_where_there_can_be_none_it_is_refused():
    with pytest.raises(metarl.UserError, match=r"rl2 .*context must stay 0"):
        metarl.RL2(ENV, context=3, **SMALL)
    with pytest.raises(metarl.UserError, match=r"varibad .*context must stay 0"):
        metarl.VariBAD(ENV, context=3, **SMALL)
    with pytest.raises(metarl.UserError, match="context=1000000000000"):
        metarl.MAML(ENV, context=10**12, **SMALL)
    with pytest.raises(metarl.UserError, match="a context is for network mlp, got 3 with conv"):
        metarl.FewShot("glyphs", network="conv", context=3)
    with pytest.raises(metarl.UserError, match="context must be at least 0"):
        metarl.MAML(ENV, context=-1, **SMALL)
