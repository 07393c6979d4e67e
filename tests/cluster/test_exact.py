"""Any number of workers: the same tasks, noise and episodes, and sums equal to rounding."""

import dataclasses

import numpy as np
import pytest
import torch
from runs import TINY, assert_same, on, run

from metarl.core import params as P
from metarl.experiment.presets import PRESETS
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML, METHODS, SUPERVISED
from metarl.outer import TRPO, Adam
from metarl.workers.objective import WorkersObjective

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.usefixtures("reused")

SINES = dataclasses.replace(PRESETS["sinusoid"], tasks=5, eval_tasks=4, eval_steps=2)
GLYPHS = dataclasses.replace(PRESETS["glyphs-5way-1shot"], tasks=2, eval_tasks=2, filters=4, eval_queries=2)
DAMPED = TRPO(cg_damping=0.1)  # without damping, conjugate gradients turn rounding into more than that


def everything_asked(config):
    """One iteration's answers of all workers: episodes, and what is computed from them."""
    trainer = Trainer(config)
    objective, vector = WorkersObjective(trainer.workers), P.flatten(trainer.params.values())
    direction = torch.linspace(-1, 1, len(vector))
    data, curve = trainer.workers.collect(vector, 3), None
    numbers = [*objective.loss_and_gradient(vector), objective.fisher_product(vector, direction, 3)]
    numbers += [*objective.loss_and_kl(vector + 0.01 * direction), *objective.return_moments(), objective.adapted()]
    curve = trainer.evaluate()
    trainer.close()
    episodes = [data["returns"][0], data["lengths"], data["steps"], curve.per_task[:, 0]]
    adapted = [data["returns"][1], curve.per_task, *curve.change.values()]
    return episodes, [torch.as_tensor(number) for number in [*numbers, *adapted]]


def test_at_the_same_params_episodes_are_equal_to_the_bit_and_what_follows_to_rounding():
    """Hopper's episodes end early: padding, and so rounding in each task's own sums, depends on the share."""
    config = dataclasses.replace(TINY, env="metarl/HopperRandParams-v0", horizon=40)
    episodes, numbers = everything_asked(config)
    for workers in (1, 2, 3):
        found, sums = everything_asked(on(workers, config))
        assert all(np.array_equal(*pair) for pair in zip(found, episodes, strict=True))
        for mine, theirs in zip(sums, numbers, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6 + 1e-5 * float(theirs.abs().max()))
        if workers == 1:
            assert all(torch.equal(*pair) for pair in zip(sums, numbers, strict=True))


@pytest.mark.parametrize(("outer", "tolerance"), [(DAMPED, 1e-4), (Adam(), 1e-6)], ids=["trpo", "adam"])
def test_params_after_several_iterations(outer, tolerance):
    config = dataclasses.replace(TINY, method=MAML(inner_lr=0.1, outer=outer))
    whole = run(config, 3)
    assert_same(whole, run(on(1, config), 3))
    for workers in (2, 3):
        params, metrics, curve = run(on(workers, config), 3)
        assert (params - whole[0]).norm() < tolerance * whole[0].norm()
        assert metrics[0]["meta/return_step1"] == whole[1][0]["meta/return_step1"]
        np.testing.assert_allclose(curve, whole[2], rtol=100 * tolerance)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_on_two_actors(name):
    method = METHODS[name]
    if isinstance(method.outer, TRPO):
        method = dataclasses.replace(method, outer=DAMPED)
    config = dataclasses.replace(TINY, method=method)
    (whole, metrics, _), (params, shared, _) = run(config), run(on(2, config))
    torch.testing.assert_close(params, whole, rtol=1e-3, atol=1e-4)
    assert metrics[0].keys() == shared[0].keys()
    # a recurrent policy plays all rows in one product of matrices, whose rounding depends on their number
    assert metrics[0]["meta/return_step1"] == pytest.approx(shared[0]["meta/return_step1"], rel=1e-6 * (name == "rl2"))


@pytest.mark.parametrize("config", [SINES, GLYPHS], ids=["sinusoid", "glyphs"])
@pytest.mark.parametrize("name", ["maml", "reptile"])
def test_supervised_tasks_on_two_actors(config, name):
    config = dataclasses.replace(config, method=SUPERVISED[name])
    (whole, _, curve), (params, _, shared) = run(config), run(on(2, config))
    torch.testing.assert_close(params, whole, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(shared, curve, rtol=1e-2)
