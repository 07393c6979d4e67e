"""Physics that diverge are counted, their episodes cut; the run goes on."""

import numpy as np
import pytest
import torch

from metarl.experiment.config import Config
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML


@pytest.mark.parametrize("env", ["metarl/HalfCheetahVel-v0", "metarl/HopperRandParams-v0"])
def test_a_run_with_simulations_that_diverge_goes_on(env, observe):
    trainer = Trainer(Config(env, method=MAML(), tasks=3, episodes=2, horizon=10, hidden=(8,)))
    vec = trainer.inner_loop.sampler.env.unwrapped
    step, calls = vec.step, 0

    def faster_and_faster(actions):
        nonlocal calls
        calls += 1
        if calls == 3:
            vec.batch.bind("qvel")[[1, 4]] = 1e12
        return step(actions)

    vec.step = faster_and_faster
    metrics = trainer.iterate()
    assert metrics["physics/unstable_simulations"] == 2
    assert all(torch.isfinite(value).all() for value in trainer.params.values())
    vec.step = step
    assert trainer.iterate()["physics/unstable_simulations"] == 0
    observe(f"velocities of 1e12 in {env}", "2 of 6 simulations counted and cut; the next iteration has none")


def test_masses_changed_ten_thousandfold(observe):
    trainer = Trainer(Config("metarl/HopperRandParams-v0", method=MAML(), tasks=2, episodes=2, horizon=10, hidden=(8,)))
    env = trainer.inner_loop.sampler.env.unwrapped
    mass = np.array(env.batch.expand("body_mass"))
    for factor in (1e4, 1e-4):
        env.batch.expand("body_mass")[:] = mass * factor
        env.batch.set_const()
        env.reset(seed=0)
        for _ in range(50):
            obs, reward, *_ = env.step(np.ones(env.action_space.shape, np.float32))
            assert np.isfinite(obs).all() and np.isfinite(reward).all()
            env.reset(options={"reset_mask": np.ones(env.num_envs, bool)}) if (_[0] | _[1]).any() else None
    metrics = trainer.iterate()
    assert np.isfinite(metrics["meta/return_step0"])
    observe("masses times 10^4 and 10^-4", "observations and rewards stay finite; the run goes on")
