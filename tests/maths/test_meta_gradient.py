"""The meta-gradient and the Fisher product, against finite differences, definitions and double backprop."""

import dataclasses

import pytest
import tiny
import torch
from torch.testing import assert_close

from metarl.core import params as P
from metarl.core.gradient_step import gradient_step
from metarl.methods import MAML
from metarl.methods.adaptation import adaptation_path
from metarl.methods.protocols import QUERY
from metarl.outer import TRPO

INNER_LOSSES = ["likelihood-ratio", "log-likelihood"]


@pytest.mark.parametrize("inner_loss", INNER_LOSSES)
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
def test_meta_gradient_is_the_derivative_of_the_objective(steps, discrete, inner_loss):
    objective, params = tiny.objective(MAML(inner_lr=0.3, inner_steps=steps), discrete, inner_loss)
    _, gradient = objective.loss_and_gradient(params)
    assert gradient.abs().max() > 1e-3
    assert_close(gradient, tiny.finite_difference(lambda p: objective.loss_and_kl(p)[0], params), rtol=1e-6, atol=1e-8)


def test_first_order_is_the_gradient_at_the_adapted_params():
    method = MAML(inner_lr=0.3, inner_steps=2, first_order=True)
    objective, params = tiny.objective(method)
    batch_loss = tiny.batch_loss(objective)
    _, gradient = objective.loss_and_gradient(params)
    adapted = P.stack(P.unflatten(params, batch_loss.like), tiny.K)
    for support in batch_loss.batch.support:
        adapted = method.inner_step(batch_loss.losses.loss, adapted, support)
    leaves = {name: value.clone().requires_grad_() for name, value in adapted.items()}
    new = batch_loss.losses.outputs(leaves, batch_loss.batch.query)
    batch_loss.losses.surrogate(new, batch_loss._played(QUERY), batch_loss.batch.query).sum().backward()
    expected = P.flatten([leaf.grad.sum(0) / tiny.K for leaf in leaves.values()])
    assert_close(gradient, expected)


def test_second_order_differs_from_first_order_and_equals_the_product_with_the_hessian():
    method = MAML(inner_lr=0.3)
    objective, params = tiny.objective(method)
    batch_loss = tiny.batch_loss(objective)
    _, second = objective.loss_and_gradient(params)
    first_order = tiny.objective(dataclasses.replace(method, first_order=True))[0]
    _, first = first_order.loss_and_gradient(params)
    assert (second - first).abs().max() > 1e-3

    expected = torch.zeros_like(params)  # sum over tasks of (I - lr H) g, one task at a time
    for k in range(tiny.K):
        support, query = (
            tiny.some_tasks(d, range(k, k + 1)) for d in (batch_loss.batch.support[0], batch_loss.batch.query)
        )

        def inner(vector, support=support):
            return batch_loss.losses.loss(P.stack(P.unflatten(vector, batch_loss.like), 1), support).sum()

        hessian = torch.autograd.functional.hessian(inner, params)
        step = torch.autograd.functional.jacobian(inner, params)
        at = (params - method.inner_lr * step).requires_grad_()
        new = batch_loss.losses.outputs(P.stack(P.unflatten(at, batch_loss.like), 1), query)
        old = dataclasses.replace(new, **{n: v.detach() for n, v in vars(new).items()})
        (g,) = torch.autograd.grad(batch_loss.losses.surrogate(new, old, query).sum(), at)
        expected += (g - method.inner_lr * hessian @ g) / tiny.K
    assert_close(second, expected)


def test_adapting_all_tasks_at_once_equals_a_loop_over_tasks():
    net = tiny.policy()
    problem = tiny.PolicyGradient(net)
    params = P.params_of(net)
    data = [tiny.episodes(net, P.stack(params, tiny.K), seed) for seed in range(3)]
    together = P.stack(params, tiny.K)
    for d in data:
        together = gradient_step(problem.loss, together, d, 0.2, create_graph=False)
    for k in range(tiny.K):
        alone = P.stack(params, 1)
        for d in data:
            own = tiny.some_tasks(d, range(k, k + 1))
            alone = gradient_step(problem.loss, alone, own, 0.2, create_graph=False)
        for name in params:
            assert_close(together[name][k], alone[name][0])


def test_only_the_named_params_adapt():
    net = tiny.policy()
    params = P.stack(P.params_of(net), tiny.K)
    data = tiny.episodes(net, params, 0)
    adapted = gradient_step(tiny.PolicyGradient(net).loss, params, data, 0.2, names=["log_std"], create_graph=False)
    assert all(torch.equal(adapted[name], params[name]) == (name != "log_std") for name in params)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("steps", [1, 2])
def test_fisher_product_is_the_hessian_of_the_kl(steps, discrete):
    objective, params = tiny.objective(MAML(inner_lr=0.3, inner_steps=steps), discrete)
    batch_loss = tiny.batch_loss(objective)
    objective.loss_and_gradient(params)

    def kl(vector):
        stacked, support = P.stack(P.unflatten(vector, batch_loss.like), tiny.K), batch_loss.batch.support
        adapted = adaptation_path(batch_loss.method, batch_loss.losses.loss, stacked, support, create_graph=True)[-1]
        return batch_loss.losses.kl(
            batch_loss._played(QUERY),
            batch_loss.losses.outputs(adapted, batch_loss.batch.query),
            batch_loss.batch.query,
        ).mean()

    hessian = torch.autograd.functional.hessian(kl, params)  # by double backprop, third derivatives included
    products = torch.stack([objective.fisher_product(params, e, stride=1) for e in torch.eye(len(params)).double()])
    assert_close(products, hessian, rtol=1e-7, atol=1e-9)


def test_a_thinner_fisher_product_is_linearised_at_the_same_policies():
    objective, params = tiny.objective(MAML(inner_lr=0.3))
    batch_loss = tiny.batch_loss(objective)
    losses, batch, like = batch_loss.losses, batch_loss.batch, batch_loss.like
    thin = [losses.thin(data, 2) for data in batch.support]
    query = batch.query.every_nth_step(2)

    def shifted(vector):  # the thinner adaptation, moved to where the whole one leads from these params
        stacked = P.stack(P.unflatten(vector, like), tiny.K)
        adapted = adaptation_path(batch_loss.method, losses.loss, stacked, thin, create_graph=True)[-1]
        return losses.outputs({n: value + (exact[n] - value).detach() for n, value in adapted.items()}, query)

    stacked = P.stack(P.unflatten(params, like), tiny.K)
    exact = adaptation_path(batch_loss.method, losses.loss, stacked, batch.support, create_graph=False)[-1]
    leaf = params.clone().requires_grad_()
    assert_close(shifted(leaf).mean.detach(), batch_loss._played(QUERY).mean[:, ::2])
    vector = torch.randn(len(params), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    jacobians = torch.autograd.functional.jacobian(lambda v: shifted(v).parameters, params)
    pushed = losses.fisher(shifted(leaf), [j @ vector for j in jacobians], query)
    expected = sum(torch.tensordot(p, j, p.dim()) for p, j in zip(pushed, jacobians, strict=True)) / tiny.K
    assert_close(objective.fisher_product(params, vector, stride=2), expected)


def test_kl_before_the_step_is_zero():
    objective, params = tiny.objective(MAML(inner_lr=0.3, inner_steps=2))
    loss, _ = objective.loss_and_gradient(params)
    again, kl = objective.loss_and_kl(params)
    assert kl == 0
    assert again == loss


def test_two_workers_answer_as_one():
    method = MAML(inner_lr=0.3)
    one, params = tiny.objective(method)
    two, _ = tiny.objective(method, split=1)
    vector = torch.randn(len(params), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for a, b in zip(one.loss_and_gradient(params), two.loss_and_gradient(params), strict=True):
        assert_close(a, b)
    assert_close(one.fisher_product(params, vector, 1), two.fisher_product(params, vector, 1))
    assert_close(one.loss_and_kl(params + 0.01 * vector), two.loss_and_kl(params + 0.01 * vector))


def test_a_step_improves_the_surrogate_within_the_trust_region():
    objective, params = tiny.objective(MAML(inner_lr=0.1))
    trpo = TRPO(max_kl=0.01, fisher_stride=1)
    new, metrics = trpo.step(objective, params)
    before, after = objective.loss_and_kl(params)[0], objective.loss_and_kl(new)
    assert after[0] < before
    assert 0 < after[1] <= 0.01
    assert metrics["approx_kl"] == after[1]


def test_a_failed_line_search_leaves_the_params_untouched():
    objective, params = tiny.objective(MAML(inner_lr=0.1))
    before = params.clone()
    object.__setattr__(objective, "loss_and_kl", lambda candidate: (float("nan"), 0.0))
    new, metrics = TRPO(line_search_steps=4).step(objective, params)
    assert torch.equal(new, before)
    assert torch.equal(params, before)
    assert metrics["line_search_failed"] == 1
    assert metrics["line_search_steps"] == 4


def test_a_gradient_that_is_not_finite_is_named_with_its_task():
    objective, params = tiny.objective(MAML(inner_lr=0.3))
    objective.loss_and_gradient(params)
    tiny.spoil(objective, 1)
    with pytest.raises(FloatingPointError, match="the meta-gradient is not finite in task 1"):
        objective.loss_and_gradient(params)


def test_padding_changes_nothing():
    objective, params = tiny.objective(MAML(inner_lr=0.3))
    batch_loss = tiny.batch_loss(objective)
    loss, gradient = objective.loss_and_gradient(params)
    vector = torch.ones_like(params)
    product = objective.fisher_product(params, vector, 1)

    def garbage(data):
        padded = {}
        for name in ("obs", "act", "rew", "mask", "logp", "adv"):
            value = getattr(data, name)
            extra = torch.full_like(value[:, :, :3], 0.0 if name in ("mask", "adv") else 7.0)
            padded[name] = torch.cat([value, extra], dim=2)
        return type(data)(**padded)

    batch = batch_loss.batch
    padded = dataclasses.replace(
        batch, support=tuple(garbage(data) for data in batch.support), query=garbage(batch.query)
    )
    objective.workers.workers[0].hold(padded)
    padded_loss, padded_gradient = objective.loss_and_gradient(params)
    assert_close(padded_loss, loss)
    assert_close(padded_gradient, gradient)
    assert_close(objective.fisher_product(params, vector, 1), product)


def test_the_divergence_does_not_depend_on_what_was_asked_before():
    """The policies that played follow from the params that collected, not from whichever call comes first."""
    (first, params), (second, _) = tiny.objective(MAML(inner_lr=0.3)), tiny.objective(MAML(inner_lr=0.3))
    second.loss_and_gradient(params)
    elsewhere = params + 0.3
    loss, kl = first.loss_and_kl(elsewhere)
    assert kl > 1e-3
    assert (loss, kl) == second.loss_and_kl(elsewhere)
    _, gradient = first.loss_and_gradient(elsewhere)
    assert_close(gradient, tiny.finite_difference(lambda p: second.loss_and_kl(p)[0], elsewhere), rtol=1e-6, atol=1e-8)


def test_selecting_tasks_returns_another_meta_batch():
    objective, _ = tiny.objective(MAML(inner_lr=0.3))
    batch = tiny.batch_loss(objective).batch
    some = batch.select_tasks([2, 0])
    assert (some.tasks, len(some), len(batch)) == ((2, 0), 2, tiny.K)
    assert torch.equal(some.query.rew, batch.query.rew[[2, 0]])
    assert torch.equal(some.support[0].adv, batch.support[0].adv[[2, 0]])
