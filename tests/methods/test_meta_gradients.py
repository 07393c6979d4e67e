"""Every method's meta-gradient against finite differences of its own objective, in float64."""

import dataclasses
import math

import pytest
import tiny
import torch
from torch.testing import assert_close

from metarl.core import params as P
from metarl.methods import ANIL, CAVIA, EMAML, MAML, MetaSGD, ProMP
from metarl.methods.protocols import QUERY
from metarl.outer import PPO

METHODS = {
    "anil": ANIL(inner_lr=0.3, inner_steps=2),
    "cavia": CAVIA(inner_lr=0.3, inner_steps=2),
    "meta-sgd": MetaSGD(inner_lr=0.3, inner_steps=2),
    "ppo-maml": MAML(inner_lr=0.3, inner_steps=2, outer=PPO()),
    "promp": ProMP(inner_lr=0.3, inner_steps=2),
    "e-maml": EMAML(inner_lr=0.3, inner_steps=2, exploration=0.7),
}


def prepared(method, discrete=False, inner_loss="likelihood-ratio"):
    """Workers whose objective is complete, and the params that played."""
    objective, params = tiny.objective(method, discrete, inner_loss)
    mean, square = objective.return_moments()
    return objective.given(inner_kl=0.5, mean=mean, std=math.sqrt(square - mean**2)), params


def elsewhere(params):
    """Params that did not play, near by."""
    return params + 0.02 * torch.randn(params.shape, dtype=params.dtype, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("discrete", [False, True], ids=["gaussian", "categorical"])
@pytest.mark.parametrize("method", METHODS)
def test_the_meta_gradient_is_the_derivative_of_the_objective(method, discrete):
    name, method = method, METHODS[method]
    objective, params = prepared(dataclasses.replace(method, inner_steps=1) if discrete else method, discrete)
    here = elsewhere(params) if method.outer.clip else params  # several epochs leave where they played
    _, gradient = objective.loss_and_gradient(here)
    assert_close(gradient, tiny.finite_difference(lambda p: objective.loss_and_kl(p)[0], here), rtol=1e-6, atol=1e-8)
    if name == "meta-sgd":
        assert gradient[len(params) // 2 :].abs().max() > 1e-4  # the step sizes' half


@pytest.mark.parametrize("method", ["cavia", "meta-sgd", "promp"])
def test_so_it_is_where_the_context_tells_the_mean_reward(method):
    objective, params = tiny.objective(METHODS[method], reward_coef=0.7)
    objective = objective.given(inner_kl=0.5)
    _, gradient = objective.loss_and_gradient(params)
    assert_close(gradient, tiny.finite_difference(lambda p: objective.loss_and_kl(p)[0], params), rtol=1e-6, atol=1e-8)
    like = tiny.batch_loss(objective).like
    assert all(P.unflatten(gradient, like)[f"reward.{name}"].abs().max() > 1e-4 for name in ("weight", "offset"))


@pytest.mark.parametrize("steps", [1, 2])
def test_dice_meta_gradient_is_the_derivative_of_the_objective(steps):
    objective, params = prepared(MAML(inner_lr=0.3, inner_steps=steps), inner_loss="dice")
    _, gradient = objective.loss_and_gradient(params)
    assert_close(gradient, tiny.finite_difference(lambda p: objective.loss_and_kl(p)[0], params), rtol=1e-6, atol=1e-8)


def test_dice_differs_from_the_likelihood_ratio_in_the_second_derivative_only():
    dice, ratio = (prepared(MAML(inner_lr=0.3), inner_loss=form) for form in ("dice", "likelihood-ratio"))
    gradients, hessians = [], []
    for objective, params in (dice, ratio):
        batch_loss = tiny.batch_loss(objective)

        def inner(vector, batch_loss=batch_loss):
            return batch_loss.losses.loss(
                P.stack(P.unflatten(vector, batch_loss.like), tiny.K), batch_loss.batch.support[0]
            ).sum()

        gradients.append(torch.autograd.functional.jacobian(inner, params))
        hessians.append(torch.autograd.functional.hessian(inner, params))
    assert_close(*gradients)
    assert (hessians[0] - hessians[1]).abs().max() > 1e-3


def test_dice_credits_earlier_actions_in_the_second_derivative():
    objective, params = tiny.objective(MAML(inner_lr=0.3), inner_loss="dice")
    batch_loss = tiny.batch_loss(objective)
    support = batch_loss.batch.support[0]

    def scores(vector):  # grad of the log-probability of each action, [K, E, T, P]
        def logp(v):
            outputs = batch_loss.losses.outputs(P.stack(P.unflatten(v, batch_loss.like), tiny.K), support)
            return outputs.log_prob(support.act.flatten(1, 2)).view_as(support.mask) * support.mask

        return torch.autograd.functional.jacobian(logp, vector)

    g = scores(params)
    past = g.cumsum(2) - g
    weight = support.weight.view_as(support.mask) * support.adv
    cross = torch.einsum("ket,ketp,ketq->pq", weight, past, g)

    def hessian(form):
        problem = dataclasses.replace(batch_loss.losses, inner_loss=form)
        return torch.autograd.functional.hessian(
            lambda v: problem.loss(P.stack(P.unflatten(v, batch_loss.like), tiny.K), support).sum(), params
        )

    assert_close(hessian("dice"), hessian("likelihood-ratio") - cross - cross.T)


@pytest.mark.parametrize("kind", [ANIL, CAVIA, MetaSGD, EMAML])
def test_second_order_differs_from_first_order(kind):
    gradients = []
    for first_order in (False, True):
        objective, params = prepared(kind(inner_lr=0.3, first_order=first_order))
        gradients.append(objective.loss_and_gradient(params)[1])
    assert (gradients[0] - gradients[1]).abs().max() > 1e-3


def test_promp_penalty_is_the_inner_kl():
    method = METHODS["promp"]
    objective, params = prepared(method)
    here = elsewhere(params)
    with_penalty, _ = objective.loss_and_gradient(here)
    without, _ = objective.given(inner_kl=0.0).loss_and_gradient(here)
    kl = objective.support_kl(here)
    assert kl > 1e-5
    assert with_penalty - without == pytest.approx(0.5 * kl)
    assert objective.support_kl(params) == 0


@pytest.mark.parametrize(("method", "passes"), [("promp", 3), ("e-maml", 3), ("first-order", 5), ("cavia", 3)])
def test_what_an_inner_step_computed_is_not_computed_again(method, passes):
    """Two inner steps and the query data; a first-order step's gradient uses the graph of its support data up."""
    methods = METHODS | {"first-order": dataclasses.replace(METHODS["e-maml"], first_order=True)}
    objective, params = prepared(methods[method])
    objective.loss_and_gradient(params)  # what the policies that played said is known from here on
    seen = []
    network = objective.workers.workers[0].inner_loop.losses.policy
    network.register_forward_hook(lambda *_: seen.append(1))
    objective.loss_and_gradient(params + 0.01)
    assert len(seen) == tiny.K * passes  # the tasks' data differ in length


class Peeks(ProMP):
    """Looks at the loss before its step, without a graph."""

    def inner_step(self, loss, adapted, support, scale=1.0, *, create_graph=False):
        with torch.no_grad():
            assert loss(adapted, support).isfinite().all()
        return super().inner_step(loss, adapted, support, scale, create_graph=create_graph)


class UsesUp(EMAML):
    """A first-order step that does not say so."""

    def inner_step(self, loss, adapted, support, scale=1.0, *, create_graph=False):
        leaves = {name: value.detach().requires_grad_() for name, value in adapted.items()}
        leaves = adapted if create_graph else leaves
        gradients = torch.autograd.grad(loss(leaves, support).sum(), list(leaves.values()))
        return {name: adapted[name] - 0.3 * g for name, g in zip(adapted, gradients, strict=True)}


def test_a_step_of_ones_own_may_do_with_the_loss_what_it_likes():
    objective, params = prepared(Peeks(inner_lr=0.3, inner_steps=2))
    here = elsewhere(params)
    _, gradient = objective.loss_and_gradient(here)
    assert_close(gradient, tiny.finite_difference(lambda p: objective.loss_and_kl(p)[0], here), rtol=1e-6, atol=1e-8)
    objective, params = prepared(UsesUp(inner_steps=2))
    assert objective.loss_and_gradient(params)[1].isfinite().all()


@pytest.mark.parametrize(("target", "factor"), [(1e3, 0.5), (1e-9, 2.0), (None, 1.0)])
def test_promp_penalty_adapts_to_its_target(target, factor):
    method = ProMP(inner_lr=0.3, inner_kl=0.2, inner_kl_target=target)
    objective, params = tiny.objective(method)
    _, state, metrics = method.update(objective, params, method.initial_state(params))
    assert float(state["inner_kl"]) == pytest.approx(0.2 * factor)
    assert metrics["inner_kl_coefficient"] == pytest.approx(0.2)


def test_clipping_ends_the_gradient_of_ratios_that_moved_far():
    objective, params = tiny.objective(MAML(inner_lr=0.3, outer=PPO(clip=0.1)))
    batch_loss = tiny.batch_loss(objective)
    objective.loss_and_gradient(params)
    old, data = batch_loss._played(QUERY), batch_loss.batch.query
    act = data.act.flatten(1, 2)
    new = dataclasses.replace(old, mean=(old.mean + 0.3).requires_grad_())
    batch_loss.losses.surrogate(new, old, data, clip=0.1).sum().backward()
    ratio = torch.exp(new.log_prob(act) - old.log_prob(act))
    adv = data.adv.flatten(1)
    beyond = ((ratio > 1.1) & (adv > 0)) | ((ratio < 0.9) & (adv < 0))
    assert beyond.any() and not beyond.all()
    assert not new.mean.grad[beyond].any()


def test_e_maml_credits_support_actions_with_the_return_after_adaptation():
    method = METHODS["e-maml"]
    objective, params = prepared(dataclasses.replace(method, inner_steps=1))
    batch_loss = tiny.batch_loss(objective)
    plain, _ = prepared(MAML(inner_lr=0.3))
    extra = objective.loss_and_gradient(params)[1] - plain.loss_and_gradient(params)[1]

    returns = batch_loss.batch.query.returns.mean(-1)
    credit = (returns - returns.mean()) / returns.std(correction=0)

    def likelihood(vector):
        outputs = batch_loss.losses.outputs(
            P.stack(P.unflatten(vector, batch_loss.like), tiny.K), batch_loss.batch.support[0]
        )
        logp = outputs.log_prob(batch_loss.batch.support[0].act.flatten(1, 2))
        return -(credit * (logp * batch_loss.batch.support[0].weight).sum(-1)).mean()

    expected = 0.7 * torch.autograd.functional.jacobian(likelihood, params)
    assert_close(extra, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_two_workers_answer_as_one(method):
    one, params = tiny.objective(METHODS[method])
    two, _ = tiny.objective(METHODS[method], split=1)
    method = METHODS[method]
    a, b = (method.update(whose, params, method.initial_state(params)) for whose in (one, two))
    assert (a[0] - params).abs().max() > 1e-5
    assert_close(a[0], b[0])
    assert a[2] == pytest.approx(b[2], rel=1e-4)
