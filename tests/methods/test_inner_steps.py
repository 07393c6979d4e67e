"""The inner steps of the methods that change more or less than all params."""

import pytest
import tiny
import torch
from torch.testing import assert_close

from metarl.core import params as P
from metarl.errors import UserError
from metarl.methods import ANIL, CAVIA, MAML, MetaSGD, Reptile
from metarl.methods.anil import head

METHODS = [
    ANIL(inner_lr=0.3),
    CAVIA(inner_lr=0.3),
    MetaSGD(inner_lr=0.3),
    Reptile(inner_optimizer="adam"),
    MAML(inner_lr=0.3),
]


def problem(method, tasks=tiny.K):
    """A tiny policy's losses, its meta-params and support data."""
    net = tiny.policy(context=3 if isinstance(method, CAVIA) else 0)
    params = method.initial(P.params_of(net))
    losses = tiny.PolicyGradient(net)
    data = tiny.episodes(net, losses.own(P.stack(params, tasks)), seed=0, tasks=tasks)
    return losses, params, data


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_all_tasks_at_once_equal_a_loop_over_tasks(method):
    losses, params, data = problem(method)
    together = P.stack(params, tiny.K)
    for _ in range(2):
        together = method.inner_step(losses.loss, together, data)
    for k in range(tiny.K):
        alone = P.stack(params, 1)
        for _ in range(2):
            alone = method.inner_step(losses.loss, alone, tiny.some_tasks(data, range(k, k + 1)))
        for name in params:
            assert_close(together[name][k], alone[name][0])


def test_the_head_is_the_last_layer_and_log_std():
    assert head(P.params_of(tiny.policy(hidden=(4, 4)))) == ["log_std", "mean.4.weight", "mean.4.bias"]
    assert head(P.params_of(tiny.policy(discrete=True))) == ["logits.2.weight", "logits.2.bias"]


def test_anil_leaves_the_body_alone_inside_and_trains_it_outside():
    method = ANIL(inner_lr=0.3, inner_steps=2)
    losses, params, data = problem(method)
    adapted = method.inner_step(losses.loss, P.stack(params, tiny.K), data)
    changed = {name for name in params if not torch.equal(adapted[name], P.stack(params, tiny.K)[name])}
    assert changed == set(head(params))

    objective, vector = tiny.objective(method)
    gradient = P.unflatten(objective.loss_and_gradient(vector)[1], params)
    assert all(gradient[name].any() for name in params)


@pytest.mark.parametrize("create_graph", [False, True])
def test_anil_computes_no_gradients_for_the_body_inside(create_graph):
    method = ANIL(inner_lr=0.3)
    losses, params, data = problem(method)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    reached = []
    hidden = []

    def hook(module, inputs, output):  # the body's outputs
        hidden.append(output.requires_grad)
        if output.requires_grad:
            output.register_hook(lambda gradient: reached.append(gradient))

    losses.policy.mean[0].register_forward_hook(hook)
    adapted = method.inner_step(losses.loss, P.stack(leaves, tiny.K), data, create_graph=create_graph)
    assert hidden == [create_graph]  # the outer update will want the body's graph
    assert not reached
    if create_graph:
        sum(value.sum() for value in adapted.values()).backward()
        assert reached


def test_cavia_moves_the_context_inside_and_everything_outside():
    method = CAVIA(inner_lr=0.3, inner_steps=2)
    losses, params, data = problem(method)
    adapted = method.inner_step(losses.loss, P.stack(params, tiny.K), data)
    changed = {name for name in params if not torch.equal(adapted[name], P.stack(params, tiny.K)[name])}
    assert changed == {"mean.0.context"}
    objective, vector = tiny.objective(method)
    gradient = P.unflatten(objective.loss_and_gradient(vector)[1], params)
    assert all(gradient[name].any() for name in params)


def test_cavia_needs_a_context():
    losses, params, data = problem(MAML())
    with pytest.raises(
        UserError, match=r"params called context, and the network has none, only log_std, mean\.0\.weight"
    ):
        CAVIA().inner_step(losses.loss, P.stack(params, tiny.K), data)


def test_meta_sgd_begins_as_maml_and_steps_by_its_own_sizes():
    sgd, maml = MetaSGD(inner_lr=0.3), MAML(inner_lr=0.3)
    losses, params, data = problem(sgd)
    plain = maml.inner_step(losses.loss, P.stack(losses.own(params), tiny.K), data)
    learned = sgd.inner_step(losses.loss, P.stack(params, tiny.K), data)
    for name in plain:
        assert_close(learned[name], plain[name])

    params["lr.mean.0.weight"][0, 0] = 0.0
    learned = sgd.inner_step(losses.loss, P.stack(params, tiny.K), data)
    assert_close(learned["mean.0.weight"][:, 0, 0], params["mean.0.weight"][0, 0].expand(tiny.K))
    half = sgd.inner_step(losses.loss, P.stack(params, tiny.K), data, scale=0.5)
    assert_close(half["log_std"] - params["log_std"], 0.5 * (learned["log_std"] - params["log_std"]))
