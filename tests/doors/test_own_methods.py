"""Other people's methods, written as an outsider would: by the public names alone."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import metarl
from metarl.methods import MAML, Method

SMALL = {"tasks": 4, "episodes": 4, "horizon": 10, "hidden": (8,), "action_scale": 0.1, "eval_tasks": 2}
ENV = "metarl/PointNavigation-v0"


@dataclass(frozen=True)
class SignMAML(MAML):
    """MAML whose inner step follows the sign of the gradient (Fan et al. 2021)."""

    inner_lr: float = 0.01
    """Step along the sign."""

    def inner_step(self, loss, adapted, support, scale=1.0, *, create_graph=False):
        """Return the params after one step along the sign, whose own derivative is zero."""
        leaves = {name: value.detach().requires_grad_() for name, value in adapted.items()}
        gradients = torch.autograd.grad(loss(leaves, support).sum(), list(leaves.values()))
        steps = {n: -scale * self.inner_lr * g.sign() for n, g in zip(leaves, gradients, strict=True)}
        moved = {name: value + steps[name] for name, value in adapted.items()}
        return moved if create_graph else {name: value.detach() for name, value in moved.items()}


@dataclass(frozen=True)
class CAVIA(MAML):
    """Only a context vector adapts, from zero in every task; the network is shared (Zintgraf et al. 2019)."""

    inner_lr: float = 1.0

    def inner_step(self, loss, adapted, support, scale=1.0, *, create_graph=False):
        """Return the params with another context."""
        context = torch.zeros_like(adapted["network.context"]).requires_grad_()
        total = loss(adapted | {"network.context": context}, support).sum()
        (gradient,) = torch.autograd.grad(total, context, create_graph=create_graph)
        moved = context - scale * self.inner_lr * gradient
        return adapted | {"network.context": moved if create_graph else moved.detach()}


class ContextNet(torch.nn.Module):
    """A perceptron that also sees a context vector."""

    def __init__(self, inputs: int, actions: int, size: int = 3):
        super().__init__()
        self.context = torch.nn.Parameter(torch.zeros(size))
        self.body = torch.nn.Sequential(
            torch.nn.Linear(inputs + size, 16), torch.nn.ReLU(), torch.nn.Linear(16, actions)
        )
        self.log_std = torch.nn.Parameter(torch.zeros(actions))

    def forward(self, obs):
        context = self.context.expand(*obs.shape[:-1], -1)
        return metarl.Gaussian(self.body(torch.cat([obs, context], -1)), self.log_std[None])


class PlainReptile:
    """An object that inherits nothing and has the protocol: adapts by one gradient step, moves to the mean."""

    outer = None
    plays_query = False
    remembers = False
    inner_steps = 1

    def initial(self, params):
        return params

    def inner_step(self, loss, adapted, support, scale=1.0, *, create_graph=False):
        leaves = {name: value.detach().requires_grad_() for name, value in adapted.items()}
        gradients = torch.autograd.grad(loss(leaves, support).sum(), list(leaves.values()))
        return {n: v.detach() - 0.1 * scale * g for (n, v), g in zip(leaves.items(), gradients, strict=True)}

    def meta_loss(self, losses, new, old, data, numbers):
        raise AssertionError("nobody asks")

    def initial_state(self, params):
        return {}

    def update(self, objective, params, state):
        return objective.adapted(), state, {"moved": float((objective.adapted() - params).norm())}

    def check(self, settings):
        pass

    def suited(self, settings):
        return {}


def make_context_net(observation_space, action_space, generator):
    return ContextNet(observation_space.shape[0], action_space.shape[0])


def test_sign_maml_trains_saves_and_comes_back(tmp_path):
    model = metarl.Model(ENV, method=SignMAML(inner_lr=0.05), max_kl=0.02, log_dir=tmp_path / "run", **SMALL).learn(2)
    assert model.config.method == SignMAML(inner_lr=0.05, outer=metarl.TRPO(max_kl=0.02))
    before = {name: value.clone() for name, value in model.trainer.params.items()}
    adapted = model.adapt([0.3, -0.2])
    steps = torch.cat([(adapted.params[n] - before[n]).abs().flatten() for n in before])
    assert torch.all((steps - 0.05).abs().minimum(steps) < 1e-6)  # along the sign, or none where the gradient is zero
    with pytest.raises(metarl.UserError, match=r"method .*SignMAML.*give it again"):
        metarl.load(tmp_path / "run")
    again = metarl.load(tmp_path / "run", method=SignMAML, best=False)
    assert type(again) is metarl.Model and again.config == model.config
    assert all(torch.equal(again.trainer.params[n], before[n]) for n in before)
    again.learn(1)
    assert again.trainer.progress.iteration == 3
    model.close(), again.close()


def test_sign_maml_learns():
    sizes = SMALL | {"tasks": 20, "episodes": 10, "horizon": 30, "hidden": (32,)}
    model = metarl.Model(ENV, method=SignMAML(inner_lr=0.05), max_kl=0.03, seed=1, **sizes)
    first = metarl.adaptation_curve(model, steps=1, tasks=10, episodes=10).mean
    last = metarl.adaptation_curve(model.learn(12), steps=1, tasks=10, episodes=10).mean
    model.close()
    assert last[1] > first[1] + 2


def test_cavia_adapts_its_context_alone():
    model = metarl.Model(ENV, method=CAVIA(), policy=make_context_net, **SMALL).learn(2)
    before = {name: value.clone() for name, value in model.trainer.params.items()}
    assert not before["network.context"].any()  # the outer update has no reason to move it
    adapted = model.adapt([0.3, -0.2]).params
    assert [name for name in adapted if not torch.equal(adapted[name], before[name])] == ["network.context"]
    model.close()


def test_any_object_with_the_protocol_is_a_method():
    model = metarl.Model(ENV, method=PlainReptile(), **SMALL)
    start = {name: value.clone() for name, value in model.trainer.params.items()}
    model.learn(1)
    assert any(not torch.equal(start[n], model.trainer.params[n]) for n in start)
    model.close()


def test_a_method_that_is_none_is_refused_by_what_it_lacks():
    class Half:
        outer = None
        inner_steps = 1

    with pytest.raises(metarl.UserError, match=r"Half is no method, it lacks .*inner_step"):
        metarl.Model(ENV, method=Half(), **SMALL)
    with pytest.raises(metarl.UserError, match=r"method takes an object such as SignMAML\(\)"):
        metarl.Model(ENV, method=SignMAML, **SMALL)


def test_a_setting_that_no_file_can_hold_is_refused_before_training():
    @dataclass(frozen=True)
    class Odd(MAML):
        shape: object = None

    with pytest.raises(metarl.UserError, match="settings of Odd must be numbers, texts or None"):
        metarl.Model(ENV, method=Odd(shape=object()), **SMALL)


def test_few_shot_models_take_methods_too():
    model = metarl.FewShot("sinusoid", method=SignMAML(inner_lr=0.01, outer=metarl.Adam()), tasks=3, hidden=(8,))
    assert np.isfinite(model.learn(2).adapt(np.zeros((4, 1)), np.ones((4, 1))).predict(np.zeros((2, 1)))).all()
    assert Method in SignMAML.__mro__


@dataclass(frozen=True)
class Scaled(MAML):
    """A method that cannot be made without an argument of its own."""

    factor: float = None  # type: ignore[assignment]

    def __post_init__(self):
        super().__post_init__()
        if self.factor is None:
            raise TypeError("factor is missing")


def test_a_method_that_needs_arguments_goes_on_and_is_copied(tmp_path):
    model = metarl.Model(ENV, method=Scaled(factor=2.0), log_dir=tmp_path / "run", **SMALL).learn(1)
    model.close()
    again = metarl.Model(ENV, method=Scaled(factor=2.0), log_dir=tmp_path / "run", resume=True, **SMALL).learn(1)
    assert again.trainer.progress.iteration == 2
    assert copy.deepcopy(again).config.method == Scaled(factor=2.0)
    again.close()
