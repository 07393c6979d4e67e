"""The same meta-params, bit for bit, on any number of workers."""

import dataclasses

import pytest
import torch
from runs import TINY

from metarl.core import params as P
from metarl.experiment.presets import find_preset
from metarl.experiment.trainer import Trainer
from metarl.methods import METHODS, RL2, Reptile, VariBAD
from metarl.outer import PPO, Adam
from metarl.workers.local import Workers
from metarl.workers.ray_actor import shares
from metarl.workers.worker import Worker

NAVIGATION = dataclasses.replace(TINY, tasks=5, episodes=8, horizon=25, hidden=(32, 32))
CHEETAH = dataclasses.replace(NAVIGATION, env="metarl/HalfCheetahVel-v0")
HOPPER = dataclasses.replace(NAVIGATION, env="metarl/HopperRandParams-v0", horizon=60)
"""Episodes end early, so shares differ in the length of the longest."""


def shared_among(config, workers):
    """A trainer whose tasks are shared among several workers in this process."""
    trainer = Trainer(config)
    loops = [trainer.build_inner_loop(tasks=len(share)) for share in shares(config.tasks, workers)]
    trainer.workers = Workers(
        [
            Worker(loop, trainer.params, config.seed, config.tasks, share)
            for loop, share in zip(loops, shares(config.tasks, workers), strict=True)
        ]
    )
    return trainer


def trained(config, workers, iterations=2):
    trainer = shared_among(config, workers)
    for _ in range(iterations):
        trainer.iterate()
    vector = P.flatten(trainer.params.values())
    trainer.close()
    return vector


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("env", [NAVIGATION, slow(CHEETAH), slow(HOPPER)], ids=["navigation", "half-cheetah", "hopper"])
@pytest.mark.parametrize("name", ["maml", "promp", "reptile", "rl2", "varibad"])
def test_params_are_the_same_bits_on_1_2_3_and_5_workers(env, name):
    config = dataclasses.replace(env, method=METHODS[name])
    if name == "rl2":
        config = dataclasses.replace(config, method=RL2(lifetime=2, vf_coef=0.5, embedding=8, ent_coef=0.01))
    if name == "varibad":
        config = dataclasses.replace(config, method=VariBAD(lifetime=2, elbo_points=20))
    whole = trained(config, 1)
    assert not torch.equal(whole, trained(config, 1, iterations=1))
    for workers in (2, 3, 5):
        assert torch.equal(trained(config, workers), whole), workers


def test_an_lstms_too():
    config = dataclasses.replace(NAVIGATION, horizon=12, method=RL2(lifetime=2, memory="lstm", truncation=9))
    assert torch.equal(trained(config, 1), trained(config, 3))


def test_so_are_they_with_a_single_input():
    """A product with a single row or column has a routine of its own in a lone task."""
    config = dataclasses.replace(NAVIGATION, env="metarl/Bandit-v0", method=METHODS["maml"], action_scale=1.0)
    assert torch.equal(trained(config, 1), trained(config, 5))


@pytest.mark.parametrize("name", ["fomaml", "anil", "cavia", "meta-sgd", "e-maml", "ppo-maml"])
def test_every_other_method_too(name):
    config = dataclasses.replace(NAVIGATION, method=METHODS[name])
    assert torch.equal(trained(config, 2), trained(config, 5))


def test_so_are_they_where_the_context_tells_the_mean_reward():
    config = dataclasses.replace(CHEETAH, method=METHODS["promp"], context=7, reward_coef=1.0)
    assert torch.equal(trained(config, 1), trained(config, 3))


def test_so_are_they_on_more_threads():
    """Torch's threads share out tasks, never the sums within one."""
    config, before = dataclasses.replace(CHEETAH, episodes=20, horizon=50), torch.get_num_threads()
    whole = trained(config, 1)
    try:
        torch.set_num_threads(3)
        assert all(torch.equal(trained(config, workers), whole) for workers in (1, 5))
    finally:
        torch.set_num_threads(before)


def test_a_minibatch_and_inner_adam_too():
    for method in (dataclasses.replace(METHODS["ppo-maml"], outer=PPO(minibatches=3)),):
        config = dataclasses.replace(NAVIGATION, method=method)
        assert torch.equal(trained(config, 1), trained(config, 3))
    config = dataclasses.replace(HOPPER, method=Reptile(inner_optimizer="adam", inner_lr=0.01, outer=Adam()))
    assert torch.equal(trained(config, 1), trained(config, 3))


def test_pictures_too_even_with_one_task_a_worker():
    """A lone task's convolution has a routine of its own, and 3 tasks are not 2 and a lone one.

    With filters that are no multiple of 32 the last of an odd number of tasks is rounded in another way.
    """
    config = find_preset("glyphs-5way-1shot")
    config = dataclasses.replace(config, tasks=5, filters=32, queries=15)  # two tasks at once
    whole = trained(config, 1)
    for workers in (2, 5):
        assert torch.equal(trained(config, workers), whole), workers


@pytest.mark.parametrize("config", [CHEETAH, HOPPER], ids=["half-cheetah", "hopper"])
def test_threads_of_one_process_too(config, monkeypatch):
    config = dataclasses.replace(config, horizon=15, method=METHODS["maml"])
    whole = trained(config, 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    trainer = Trainer(config)
    assert len(trainer.workers.workers) == 2 and trainer.workers.threads
    monkeypatch.undo()
    for _ in range(2):
        trainer.iterate()
    assert torch.equal(P.flatten(trainer.params.values()), whole)
    trainer.close()


def test_a_run_goes_on_with_another_number_of_workers():
    config = dataclasses.replace(NAVIGATION, method=METHODS["maml"])
    first, then = shared_among(config, 2), shared_among(config, 3)
    for _ in range(2):
        first.iterate()
    then.restore(first.snapshot())
    for _ in range(2):
        then.iterate()
    assert torch.equal(P.flatten(then.params.values()), trained(config, 1, 4))
    first.close()
    then.close()
