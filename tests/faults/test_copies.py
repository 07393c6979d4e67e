"""Models are copied, pickled, and met again in forked processes."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from broken_envs import Line

import metarl
from metarl.models.supervised import FewShot

SIZES = {"tasks": 2, "episodes": 2, "horizon": 6, "hidden": (4,)}
COPIES = {"pickle": lambda model: pickle.loads(pickle.dumps(model)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "make",
    [
        lambda tmp: metarl.ProMP("metarl/PointNavigation-v0", log_dir=tmp / "run", **SIZES),
        lambda tmp: metarl.MAML(Line, **SIZES),
        lambda tmp: metarl.RL2("metarl/Bandit-v0", tasks=2, episodes=4, hidden=(4,), lifetime=2),
        lambda tmp: FewShot("sinusoid", tasks=2, hidden=(4,), shots=3, queries=3),
    ],
    ids=["ProMP", "own env", "RL2", "FewShot"],
)
def test_a_copy_goes_on_as_the_model_does(make, how, tmp_path):
    model = make(tmp_path).learn(1)
    other = COPIES[how](model)
    assert type(other) is type(model) and other.config == model.config and other.directory is None
    for one in (model, other):
        one.learn(1)
    assert all(torch.equal(model.trainer.params[name], value) for name, value in other.trainer.params.items())
    assert other.trainer.progress.iteration == 2
    for one in (model, other):
        one.close()


def in_child(model, queue):
    action, _ = model.adapt([0.1, 0.2], steps=1).predict(np.zeros(2, np.float32), deterministic=True)
    try:
        model.learn(1)
    except metarl.UserError as error:
        queue.put((action, str(error)))


def test_a_fork_adapts_and_says_that_it_cannot_train(observe):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = metarl.MAML("metarl/PointNavigation-v0", **{**SIZES, "hidden": (256, 256)}).learn(1)
        torch.randn(500, 500) @ torch.randn(500, 500)  # so that OpenMP has threads
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=in_child, args=(model, queue))
        child.start()
        try:
            action, said = queue.get(timeout=60)
        finally:
            child.kill()
            child.join()
        ours, _ = model.adapt([0.1, 0.2], steps=1).predict(np.zeros(2, np.float32), deterministic=True)
        np.testing.assert_allclose(action, ours, rtol=1e-4, atol=1e-5)
        assert "was made in another process" in said
        model.close()
    finally:
        torch.set_num_threads(before)
    observe("a model in a forked process", f"adapts there; learn: `{said}`")
