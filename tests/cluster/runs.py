"""What the tests of Ray's workers share."""

import dataclasses
import os
import signal

import torch

from metarl.experiment.build import Parts
from metarl.experiment.config import Config
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML

TINY = Config(
    env="metarl/PointNavigation-v0",
    method=MAML(inner_lr=0.1),
    tasks=5,
    episodes=4,
    horizon=10,
    hidden=(8,),
    action_scale=0.1,
    eval_tasks=2,
    eval_episodes=2,
    eval_steps=1,
)


def run(config, iterations=2, source=None, disturb=None):
    """Train and evaluate; `disturb(workers)` may arrange for an accident.

    Returns:
        The params `[P]`, the metrics of each iteration, and the held-out curve of each task.
    """
    trainer = Trainer(config, Parts(source))
    try:
        if disturb is not None:
            disturb(trainer.workers)
        metrics = [trainer.iterate() for _ in range(iterations)]
        curve = trainer.evaluate()
    finally:
        trainer.close()
    timeless = [{name: value for name, value in m.items() if not name.startswith("time/")} for m in metrics]
    return torch.cat([value.flatten() for value in trainer.params.values()]), timeless, curve.per_task.tolist()


def on(workers, config=TINY, **changes):
    """The configuration with other workers."""
    return dataclasses.replace(config, workers=workers, **changes)


def assert_same(once, again):
    """Two runs are the same to the bit."""
    assert torch.equal(once[0], again[0])
    assert once[1:] == again[1:]


def pid(actor):
    """The process id of an actor."""
    import ray

    return ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))


def before(name, call, accident):
    """Have the accident happen when the driver asks for the n-th time what `name` says."""

    def disturb(workers):
        ask, count = workers.ask, 0

        def and_suffer(asked, *args):
            nonlocal count
            count += asked == name
            if asked == name and count == call:
                accident(workers)
            return ask(asked, *args)

        workers.ask = and_suffer

    return disturb


def kill(index):
    """Kill a worker with SIGKILL."""
    return lambda workers: os.kill(pid(workers.actors[index]), signal.SIGKILL)
