"""The methods on supervised data: their meta-gradients against finite differences, in float64."""

import pytest
import shots
import torch
from tiny import batch_loss as batch_loss_of
from tiny import finite_difference
from torch.testing import assert_close

from metarl.core import params as P
from metarl.methods import ANIL, MAML, MetaSGD, Reptile
from metarl.methods.anil import head
from metarl.outer import TRPO, Adam

pytestmark = pytest.mark.usefixtures("double")

METHODS = {
    "maml": MAML(inner_lr=0.1, inner_steps=2, outer=Adam()),
    "anil": ANIL(inner_lr=0.1, inner_steps=2, outer=Adam()),
    "meta-sgd": MetaSGD(inner_lr=0.1, inner_steps=2, outer=Adam()),
}
KINDS = ("regression", "classification")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_the_meta_gradient_is_the_derivative_of_the_query_loss(method, kind):
    objective, params = shots.objective(METHODS[method], kind)
    _, gradient = objective.loss_and_gradient(params)
    assert gradient.abs().max() > 1e-2
    expected = finite_difference(lambda p: objective.loss_and_kl(p)[0], params)
    assert_close(gradient, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_the_inner_loss_is_its_derivative(kind):
    objective, params = shots.objective(METHODS["maml"], kind)
    batch_loss = batch_loss_of(objective)

    def loss(vector):
        stacked = P.stack(P.unflatten(vector, batch_loss.like), shots.K)
        return batch_loss.losses.loss(stacked, batch_loss.batch.support[0]).sum()

    assert_close(
        torch.autograd.functional.jacobian(loss, params), finite_difference(loss, params), atol=1e-7, rtol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_first_order_is_the_query_gradient_at_the_adapted_params(kind):
    method = MAML(inner_lr=0.1, inner_steps=2, first_order=True, outer=Adam())
    objective, params = shots.objective(method, kind)
    batch_loss = batch_loss_of(objective)
    adapted = P.stack(P.unflatten(params, batch_loss.like), shots.K)
    for support in batch_loss.batch.support:
        adapted = method.inner_step(batch_loss.losses.loss, adapted, support)
    leaves = {name: value.detach().requires_grad_() for name, value in adapted.items()}
    loss = batch_loss.losses.loss(leaves, batch_loss.batch.query).mean()
    expected = P.flatten(g.sum(0) for g in P.grad(loss, list(leaves.values())))
    assert_close(objective.loss_and_gradient(params)[1], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fisher_product_is_the_hessian_of_the_divergence(kind):
    objective, params = shots.objective(MAML(inner_lr=0.1, outer=TRPO(fisher_stride=1)), kind)
    objective.loss_and_gradient(params)
    vector = torch.randn(params.shape, generator=torch.Generator().manual_seed(0))
    _, kl = objective.loss_and_kl(params)
    assert kl == pytest.approx(0, abs=1e-15)
    h = 1e-4  # small, for a larger step crosses a kink of the relus in the inner step
    moved = [objective.loss_and_kl(params + sign * h * vector)[1] for sign in (1, -1)]
    curvature = float(vector @ objective.fisher_product(params, vector, 1))
    assert sum(moved) / h**2 == pytest.approx(curvature, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_computed_together_are_as_each_alone(kind):
    objective, params = shots.objective(METHODS["maml"], kind)
    batch_loss = batch_loss_of(objective)
    together = P.stack(P.unflatten(params, batch_loss.like), shots.K)
    for support in batch_loss.batch.support:
        together = METHODS["maml"].inner_step(batch_loss.losses.loss, together, support)
    for task in range(shots.K):
        alone = P.stack(P.unflatten(params, batch_loss.like), 1)
        for support in batch_loss.batch.support:
            one = type(support)(support.x[task : task + 1], support.y[task : task + 1])
            alone = METHODS["maml"].inner_step(batch_loss.losses.loss, alone, one)
        for name in alone:
            assert_close(alone[name][0], together[name][task])


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_answer_as_one(kind):
    (one, params), (two, _) = (shots.objective(METHODS["maml"], kind, split) for split in (None, 1))
    assert_close(one.loss_and_gradient(params), two.loss_and_gradient(params))


def test_anil_adapts_the_head_alone():
    method = METHODS["anil"]
    objective, params = shots.objective(method, "classification")
    batch_loss = batch_loss_of(objective)
    before = P.stack(P.unflatten(params, batch_loss.like), shots.K)
    after = method.inner_step(batch_loss.losses.loss, before, batch_loss.batch.support[0])
    assert [name for name in after if not torch.equal(after[name], before[name])] == head(after) != list(after)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_reptile_moves_to_the_mean_of_the_adapted_params(optimizer):
    method = Reptile(inner_lr=0.02, inner_steps=3, inner_optimizer=optimizer)
    objective, params = shots.objective(method, "regression", fresh=True)
    batch_loss = batch_loss_of(objective)
    assert len({float(support.x.sum()) for support in batch_loss.batch.support}) == 3  # new examples in every step
    adapted = P.stack(P.unflatten(params, batch_loss.like), shots.K)
    for support in batch_loss.batch.support:
        adapted = method.inner_step(batch_loss.losses.loss, adapted, support)
    mean = P.flatten(adapted[name].mean(0) for name in batch_loss.like)
    moved, _, _ = method.update(objective, params, method.initial_state(params))
    assert_close(moved, mean)


def test_reptile_of_one_step_with_adam_is_joint_training():
    method = Reptile(inner_lr=0.01, inner_steps=1, outer=Adam(outer_lr=0.1))
    objective, params = shots.objective(method, "regression")
    batch_loss = batch_loss_of(objective)

    def joint(vector):
        return batch_loss.losses.loss(
            P.stack(P.unflatten(vector, batch_loss.like), shots.K), batch_loss.batch.support[0]
        ).mean()

    gradient = torch.autograd.functional.jacobian(joint, params)
    assert_close((params - objective.adapted()) / 0.01, gradient)


def test_all_inner_steps_of_maml_see_the_same_shots():
    objective, _ = shots.objective(METHODS["maml"], "regression")
    first, second = batch_loss_of(objective).batch.support
    assert torch.equal(first.x, second.x) and torch.equal(first.y, second.y)
