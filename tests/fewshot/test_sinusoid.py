"""Sine waves: their ranges, their examples, and that the methods fit them."""

import dataclasses

import numpy as np
import pytest
import torch

from metarl.experiment.presets import PRESETS
from metarl.experiment.trainer import Trainer
from metarl.fewshot.sinusoid import AMPLITUDES, INPUTS, PHASES, Sinusoids
from metarl.methods import SUPERVISED
from metarl.outer import Adam
from metarl.seeding import task_rngs


def drawn(seed=0, source=None, tasks=50):
    source = source or Sinusoids(10, 7)
    waves = source.sample_tasks(tasks, np.random.default_rng(seed))
    return waves, source.draw(waves, task_rngs(seed, 0, 0, range(tasks))(0))


def test_tasks_and_inputs_fill_their_ranges():
    waves, lesson = drawn(tasks=500)
    for values, (low, high) in ((waves[:, 0], AMPLITUDES), (waves[:, 1], PHASES), (lesson.support.x.numpy(), INPUTS)):
        assert low <= values.min() < low + 0.03 * (high - low)
        assert high - 0.03 * (high - low) < values.max() <= high


def test_targets_are_the_sine_of_the_task():
    waves, lesson = drawn()
    for batch in (lesson.support, lesson.query):
        x, (amplitude, phase) = batch.x[..., 0].double().numpy(), waves.T[:, :, None]
        np.testing.assert_allclose(batch.y[..., 0], amplitude * np.sin(x - phase), atol=1e-5)


def test_support_and_query_are_disjoint():
    _, lesson = drawn()
    assert lesson.support.x.shape == (50, 10, 1) and lesson.query.x.shape == (50, 7, 1)
    for support, query in zip(lesson.support.x, lesson.query.x, strict=True):
        assert not set(support.flatten().tolist()) & set(query.flatten().tolist())


def test_same_seed_same_tasks_whoever_draws_them():
    (waves, lesson), (again, other) = drawn(3), drawn(3)
    assert np.array_equal(waves, again) and torch.equal(lesson.support.x, other.support.x)
    assert not np.array_equal(waves, drawn(4)[0])
    part = Sinusoids(10, 7).draw(waves[20:30], task_rngs(3, 0, 0, range(20, 30))(0))  # a worker's share
    assert torch.equal(part.query.y, lesson.query.y[20:30])


def test_the_oracle_sees_the_task():
    waves, lesson = drawn(source=Sinusoids(4, 4, oracle=True))
    assert lesson.support.x.shape == (50, 4, 3)
    np.testing.assert_allclose(lesson.support.x[:, 0, 1:], waves, rtol=1e-6)


@pytest.mark.parametrize("method", SUPERVISED)
def test_every_method_learns_to_adapt(method):
    method = SUPERVISED[method]
    if method != "reptile":
        method = dataclasses.replace(method, outer=Adam(outer_lr=0.01))
    config = dataclasses.replace(PRESETS["sinusoid"], method=method, tasks=10, eval_tasks=50, eval_steps=2)
    trainer = Trainer(config)
    before = trainer.evaluate().mean
    for _ in range(60):
        trainer.iterate()
    after = trainer.evaluate().mean
    assert after[1] < 0.98 * after[0]
    assert after[1] < 0.85 * before[1]


def test_an_oracle_needs_no_adaptation():
    trainer = Trainer(dataclasses.replace(PRESETS["sinusoid-oracle"], tasks=10, eval_tasks=50, eval_steps=0))
    for _ in range(300):
        trainer.iterate()
    oracle = trainer.evaluate().mean[0]
    assert oracle < 1.5  # without the task it cannot fall below 2.5 or so
