"""Reptile: what its update is, against plain loops."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from torch.testing import assert_close

from metarl import UserError
from metarl.core import params as P
from metarl.methods import Reptile
from metarl.outer import Interpolation
from metarl.outer.adam import Adam, adam, adam_state
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.workers.local import Workers
from metarl.workers.objective import WorkersObjective
from metarl.workers.worker import Worker


class TinyLoop(PolicyInnerLoop):
    """Plays random episodes, the same for the same task and phase."""

    def _episodes(self, adapted, tasks, rngs):
        own = self.losses.own(adapted)
        phase = int(next(rngs).bit_generator.state["state"]["key"][0]) % 2**32
        parts = []
        for k, task in enumerate(tasks[:, 0]):
            params = {name: value[k : k + 1] for name, value in own.items()}
            seed = int(task) + 10 * phase
            parts.append(tiny.episodes(self.losses.policy, params, seed=seed, tasks=1))
        names = ("obs", "act", "rew", "mask", "logp", "adv")
        return type(parts[0])(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def collected(method, tasks=tiny.K, first=0, params=None, split=None):
    """The meta-objective of workers that have played the first phases of `tasks` tasks, and the params."""
    net = tiny.policy()
    start = P.params_of(net)
    env = SimpleNamespace(sample_tasks=lambda n, rng: first + np.arange(n, dtype=float)[:, None])
    inner_loop = TinyLoop(SimpleNamespace(env=env), tiny.PolicyGradient(net), method, 0.9, 1.0)  # type: ignore
    shares = [range(tasks)] if split is None else [range(split), range(split, tasks)]
    workers = Workers([Worker(inner_loop, start, seed=0, tasks=tasks, share=share) for share in shares])
    vector = P.flatten(start.values()) if params is None else params
    data = workers.collect(vector, 0)
    assert len(data["returns"]) == method.inner_steps  # no query data
    return WorkersObjective(workers), vector


def test_one_sgd_step_is_joint_training():
    method = Reptile(inner_lr=0.2, inner_steps=1, outer=Interpolation(step_size=0.7))
    objective, params = collected(method)
    moved, _, _ = method.update(objective, params, method.initial_state(params))
    batch_loss = tiny.batch_loss(objective)

    def joint(vector):
        return batch_loss.losses.loss(
            P.stack(P.unflatten(vector, batch_loss.like), tiny.K), batch_loss.batch.support[0]
        ).mean()

    gradient = torch.autograd.functional.jacobian(joint, params)
    assert_close(moved, params - 0.7 * 0.2 * gradient)


def serial(method, tasks, epsilon):
    """Algorithm 1 of Nichol et al. 2018, one task after the other with torch's own optimisers."""
    params = collected(method, tasks=1)[1]
    for task in range(tasks):
        objective, _ = collected(method, tasks=1, first=task, params=params)
        batch_loss = tiny.batch_loss(objective)
        leaves = {n: v.clone().requires_grad_() for n, v in P.stack(P.unflatten(params, batch_loss.like), 1).items()}
        kind = torch.optim.SGD if method.inner_optimizer == "sgd" else torch.optim.Adam
        betas = {} if method.inner_optimizer == "sgd" else {"betas": (0.0, 0.999)}
        optimizer = kind(list(leaves.values()), lr=method.inner_lr, **betas)
        for support in batch_loss.batch.support:
            optimizer.zero_grad()
            batch_loss.losses.loss(leaves, support).sum().backward()
            optimizer.step()
        w = P.flatten([value.detach()[0] for value in leaves.values()])
        params = params + epsilon * (w - params)
    return params


@pytest.mark.parametrize("inner", ["sgd", "adam"])
def test_batches_of_one_task_are_the_serial_version(inner):
    method = Reptile(inner_lr=0.02, inner_steps=3, inner_optimizer=inner, outer=Interpolation(step_size=0.5))
    params = collected(method, tasks=1)[1]
    state = method.initial_state(params)
    for task in range(3):
        objective, _ = collected(method, tasks=1, first=task, params=params)
        params, state, _ = method.update(objective, params, state)
    assert_close(params, serial(method, 3, 0.5))


@pytest.mark.parametrize("inner", ["sgd", "adam"])
def test_a_batch_moves_by_the_mean_of_its_tasks(inner):
    method = Reptile(inner_lr=0.02, inner_optimizer=inner)
    objective, params = collected(method)
    moved, _, metrics = method.update(objective, params, method.initial_state(params))
    alone = [collected(method, tasks=1, first=k)[0].adapted() for k in range(tiny.K)]
    assert_close(moved, torch.stack(alone).mean(0))
    assert metrics["displacement"] == pytest.approx(float((moved - params).norm()))
    two, _ = collected(method, split=1)
    assert_close(two.adapted(), objective.adapted())


def test_the_reptile_gradient_feeds_adam():
    method = Reptile(inner_lr=0.1, outer=Adam(outer_lr=0.01))
    objective, params = collected(method)
    moved, state, _ = method.update(objective, params, method.initial_state(params))
    gradient = (params - objective.adapted()) / 0.1
    assert_close(moved, adam(params, gradient, adam_state(params), 0.01)[0])
    assert float(state["t"]) == 1


def test_adam_is_torchs_adam():
    g = torch.Generator().manual_seed(0)
    target = torch.randn(5, generator=g, dtype=torch.float64)
    theirs = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theirs], lr=0.1)
    ours, state = torch.zeros(5, dtype=torch.float64), adam_state(torch.zeros(5, dtype=torch.float64))
    for _ in range(7):
        ours, state = adam(ours, 2 * (ours - target), state, 0.1)
        optimizer.zero_grad()
        (theirs - target).square().sum().backward()
        optimizer.step()
    assert_close(ours, theirs.detach())


def test_the_step_size_falls_linearly_to_zero():
    outer = Interpolation(step_size=0.8, decay_iterations=4)
    assert [outer.at(i) for i in range(6)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0, 0.0])
    assert Interpolation(step_size=0.8).at(1000) == 0.8


def test_what_is_not_finite_is_an_error_and_not_an_update():
    method = Reptile()
    problem = SimpleNamespace(adapted=lambda: torch.tensor([float("nan")]))
    with pytest.raises(FloatingPointError, match="not finite"):
        method.update(problem, torch.zeros(1), method.initial_state(torch.zeros(1)))


@pytest.mark.parametrize("bad", [{"inner_steps": 0}, {"inner_lr": 0.0}, {"outer": object()}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(UserError, match=r"inner_steps|inner_lr|outer update"):
        Reptile(**bad)
