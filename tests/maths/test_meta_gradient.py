"""The meta-gradient and the Fisher product, against finite differences, definitions and double backprop."""

import dataclasses

import pytest
import tiny
import torch
from torch.testing import assert_close

from metarl.core import params as P
from metarl.core.gradient_step import adapt
from metarl.methods import MAML
from metarl.methods.protocols import QUERY
from metarl.outer import TRPO

INNER_LOSSES = ["likelihood-ratio", "log-likelihood"]


@pytest.mark.parametrize("inner_loss", INNER_LOSSES)
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
def test_meta_gradient_is_the_derivative_of_the_objective(steps, discrete, inner_loss):
    workers, params = tiny.workers(MAML(inner_lr=0.3, inner_steps=steps), discrete, inner_loss)
    _, gradient = workers.loss_and_gradient(params)
    assert gradient.abs().max() > 1e-3
    assert_close(gradient, tiny.finite_difference(lambda p: workers.loss_and_kl(p)[0], params), rtol=1e-6, atol=1e-8)


def test_first_order_is_the_gradient_at_the_adapted_params():
    method = MAML(inner_lr=0.3, inner_steps=2, first_order=True)
    workers, params = tiny.workers(method)
    (worker,) = workers.workers
    _, gradient = workers.loss_and_gradient(params)
    adapted = P.stack(P.unflatten(params, worker.like), tiny.K)
    for support in worker.support:
        adapted = method.inner_step(worker.problem.loss, adapted, support)
    leaves = {name: value.clone().requires_grad_() for name, value in adapted.items()}
    new = worker.problem.outputs(leaves, worker.query)
    worker.problem.surrogate(new, worker._old[QUERY], worker.query).sum().backward()
    expected = P.flatten([leaf.grad.sum(0) / tiny.K for leaf in leaves.values()])
    assert_close(gradient, expected)


def test_second_order_differs_from_first_order_and_equals_the_product_with_the_hessian():
    method = MAML(inner_lr=0.3)
    workers, params = tiny.workers(method)
    (worker,) = workers.workers
    _, second = workers.loss_and_gradient(params)
    first_order = tiny.workers(dataclasses.replace(method, first_order=True))[0]
    _, first = first_order.loss_and_gradient(params)
    assert (second - first).abs().max() > 1e-3

    expected = torch.zeros_like(params)  # sum over tasks of (I - lr H) g, one task at a time
    for k in range(tiny.K):
        support, query = (tiny.some_tasks(d, range(k, k + 1)) for d in (worker.support[0], worker.query))

        def inner(vector, support=support):
            return worker.problem.loss(P.stack(P.unflatten(vector, worker.like), 1), support).sum()

        hessian = torch.autograd.functional.hessian(inner, params)
        step = torch.autograd.functional.jacobian(inner, params)
        at = (params - method.inner_lr * step).requires_grad_()
        new = worker.problem.outputs(P.stack(P.unflatten(at, worker.like), 1), query)
        old = dataclasses.replace(new, **{n: v.detach() for n, v in vars(new).items()})
        (g,) = torch.autograd.grad(worker.problem.surrogate(new, old, query).sum(), at)
        expected += (g - method.inner_lr * hessian @ g) / tiny.K
    assert_close(second, expected)


def test_adapting_all_tasks_at_once_equals_a_loop_over_tasks():
    net = tiny.policy()
    problem = tiny.PolicyGradient(net)
    params = P.params_of(net)
    data = [tiny.episodes(net, P.stack(params, tiny.K), seed) for seed in range(3)]
    together = adapt(problem.loss, P.stack(params, tiny.K), data, 0.2, create_graph=False)
    for k in range(tiny.K):
        own = [tiny.some_tasks(d, range(k, k + 1)) for d in data]
        alone = adapt(problem.loss, P.stack(params, 1), own, 0.2, create_graph=False)
        for name in params:
            assert_close(together[name][k], alone[name][0])


def test_only_the_named_params_adapt():
    net = tiny.policy()
    params = P.stack(P.params_of(net), tiny.K)
    data = [tiny.episodes(net, params, 0)]
    adapted = adapt(tiny.PolicyGradient(net).loss, params, data, [0.2], names=["log_std"], create_graph=False)
    assert all(torch.equal(adapted[name], params[name]) == (name != "log_std") for name in params)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("steps", [1, 2])
def test_fisher_product_is_the_hessian_of_the_kl(steps, discrete):
    workers, params = tiny.workers(MAML(inner_lr=0.3, inner_steps=steps), discrete)
    (worker,) = workers.workers
    workers.loss_and_gradient(params)

    def kl(vector):
        adapted = worker.method.adapt(worker.problem.loss, P.unflatten(vector, worker.like), worker.support)
        return worker.problem.kl(worker._old[QUERY], worker.problem.outputs(adapted, worker.query), worker.query).mean()

    hessian = torch.autograd.functional.hessian(kl, params)  # by double backprop, third derivatives included
    products = torch.stack([workers.fisher_product(e, stride=1) for e in torch.eye(len(params)).double()])
    assert_close(products, hessian, rtol=1e-7, atol=1e-9)


def test_a_thinner_fisher_product_is_linearised_at_the_same_policies():
    workers, params = tiny.workers(MAML(inner_lr=0.3))
    (worker,) = workers.workers
    workers.loss_and_gradient(params)
    played = worker.problem.outputs(worker._played(), worker.query.every(2))
    assert_close(played.mean, worker._old[QUERY].mean[:, ::2])
    vector = torch.randn(len(params), dtype=torch.float64)
    product = workers.fisher_product(vector, stride=2)
    assert vector @ product > 0


def test_kl_before_the_step_is_zero():
    workers, params = tiny.workers(MAML(inner_lr=0.3, inner_steps=2))
    loss, _ = workers.loss_and_gradient(params)
    again, kl = workers.loss_and_kl(params)
    assert kl == 0
    assert again == loss


def test_two_workers_answer_as_one():
    method = MAML(inner_lr=0.3)
    one, params = tiny.workers(method)
    two, _ = tiny.workers(method, split=1)
    vector = torch.randn(len(params), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for a, b in zip(one.loss_and_gradient(params), two.loss_and_gradient(params), strict=True):
        assert_close(a, b)
    assert_close(one.fisher_product(vector, 1), two.fisher_product(vector, 1))
    assert_close(one.loss_and_kl(params + 0.01 * vector), two.loss_and_kl(params + 0.01 * vector))


def test_a_step_improves_the_surrogate_within_the_trust_region():
    workers, params = tiny.workers(MAML(inner_lr=0.1))
    trpo = TRPO(max_kl=0.01, fisher_stride=1)
    new, metrics = trpo.step(workers, params)
    before, after = workers.loss_and_kl(params)[0], workers.loss_and_kl(new)
    assert after[0] < before
    assert 0 < after[1] <= 0.01
    assert metrics["approx_kl"] == after[1]


def test_a_failed_line_search_leaves_the_params_untouched():
    workers, params = tiny.workers(MAML(inner_lr=0.1))
    before = params.clone()
    workers.loss_and_kl = lambda candidate: (float("nan"), 0.0)
    new, metrics = TRPO(line_search_steps=4).step(workers, params)
    assert torch.equal(new, before)
    assert torch.equal(params, before)
    assert metrics["line_search_failed"] == 1
    assert metrics["line_search_steps"] == 4


def test_a_gradient_that_is_not_finite_is_named_with_its_task():
    workers, params = tiny.workers(MAML(inner_lr=0.3))
    (worker,) = workers.workers
    workers.loss_and_gradient(params)
    worker.query.adv[1, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="the meta-gradient is not finite in task 1"):
        workers.loss_and_gradient(params)


def test_padding_changes_nothing():
    workers, params = tiny.workers(MAML(inner_lr=0.3))
    (worker,) = workers.workers
    loss, gradient = workers.loss_and_gradient(params)
    vector = torch.ones_like(params)
    product = workers.fisher_product(vector, 1)

    def garbage(data):
        padded = {}
        for name in ("obs", "act", "rew", "mask", "logp", "adv"):
            value = getattr(data, name)
            extra = torch.full_like(value[:, :, :3], 0.0 if name in ("mask", "adv") else 7.0)
            padded[name] = torch.cat([value, extra], dim=2)
        return type(data)(**padded)

    worker.support, worker.query, worker._old = [garbage(d) for d in worker.support], garbage(worker.query), {}
    padded_loss, padded_gradient = workers.loss_and_gradient(params)
    assert_close(padded_loss, loss)
    assert_close(padded_gradient, gradient)
    assert_close(workers.fisher_product(vector, 1), product)
