"""Any number of Ray actors: the same bits."""

import dataclasses

import numpy as np
import pytest
import torch
from runs import TINY, assert_same, on, run

from metarl.core import params as P
from metarl.experiment.presets import PRESETS
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML, METHODS, SUPERVISED
from metarl.workers.objective import WorkersObjective

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.usefixtures("reused")

SINES = dataclasses.replace(PRESETS["sinusoid"], tasks=5, eval_tasks=4, eval_steps=2)
GLYPHS = dataclasses.replace(PRESETS["glyphs-5way-1shot"], tasks=2, eval_tasks=2, filters=4, eval_queries=2)


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


def test_every_answer_is_the_same():
    """Hopper's episodes end early, so the longest of a share differs from that of another."""
    config = dataclasses.replace(TINY, env="metarl/HopperRandParams-v0", horizon=40)
    episodes, numbers = everything_asked(config)
    for workers in (1, 2, 3):
        found, answers = everything_asked(on(workers, config))
        assert all(np.array_equal(*pair) for pair in zip(found, episodes, strict=True))
        assert all(torch.equal(*pair) for pair in zip(answers, numbers, strict=True))


def test_params_after_several_iterations():
    config = dataclasses.replace(TINY, method=MAML(inner_lr=0.1))
    whole = run(config, 3)
    for workers in (1, 2, 3, 5):
        assert_same(whole, run(on(workers, config), 3))


def test_success():
    """In training and on held-out tasks, whose curves the actors draw for their shares."""
    config = dataclasses.replace(TINY, env="metarl/SparseNavigation-v0", horizon=40, action_scale=1.0)
    found = []
    for settings in (config, on(2, config)):
        trainer = Trainer(settings)
        metrics, curve = trainer.iterate(), trainer.evaluate()
        trainer.close()
        found.append(([metrics["meta/success_step0"], metrics["meta/success_step1"]], curve.success.tolist()))
    assert found[0] == found[1]
    assert max(found[0][0]) > 0


@pytest.mark.parametrize("name", METHODS)
def test_every_method_on_two_actors(name):
    config = dataclasses.replace(TINY, method=METHODS[name])
    assert_same(run(config), run(on(2, config)))


@pytest.mark.parametrize("name", ["maml", "reptile"])
def test_sine_waves_on_two_actors(name):
    config = dataclasses.replace(SINES, method=SUPERVISED[name])
    assert_same(run(config), run(on(2, config)))


@pytest.mark.parametrize("name", ["maml", "reptile"])
def test_pictures_on_two_actors(name):
    """One of them has a lone task, for which a convolution would pick another routine."""
    config = dataclasses.replace(GLYPHS, method=SUPERVISED[name])
    assert_same(run(config), run(on(2, config)))
