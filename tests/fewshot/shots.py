"""Small supervised problems in float64."""

from __future__ import annotations

import numpy as np
import torch

from metarl.core import params as P
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.networks import MLP
from metarl.fewshot.shots import Examples, Shots
from metarl.fewshot.sinusoid import Sinusoids
from metarl.workers.local import Workers
from metarl.workers.objective import WorkersObjective
from metarl.workers.worker import Worker

K, WAYS = 3, 3


class Blobs:
    """Points around class centres: classification small enough for finite differences."""

    def sample_tasks(self, n, rng):
        return rng.standard_normal((n, 2 * WAYS))

    def draw(self, tasks, rngs):
        centres = torch.from_numpy(tasks).view(len(tasks), WAYS, 2)
        noise = np.stack([rng.standard_normal((4 * WAYS, 2)) for rng in rngs])
        y = (torch.arange(4 * WAYS) % WAYS).expand(len(tasks), -1)
        x = torch.from_numpy(noise) + centres[:, y[0]]
        half = 2 * WAYS
        return Shots(Examples(x[:, :half], y[:, :half]), Examples(x[:, half:], y[:, half:]))


def inner_loop(method, kind: str, tasks: int = K, fresh: bool = False) -> ShotInnerLoop:
    """The inner loop of tiny regression or classification tasks, in torch's default precision."""
    if kind == "regression":
        return ShotInnerLoop(Sinusoids(4, 5), Regression(MLP((1,), (5,), 1, seed=3)), method, tasks, fresh)
    return ShotInnerLoop(Blobs(), Classification(MLP((2,), (4,), WAYS, seed=3)), method, tasks, fresh)


def objective(
    method, kind: str, split: int | None = None, fresh: bool = False
) -> tuple[WorkersObjective, torch.Tensor]:
    """The meta-objective of workers that have collected, and the meta-params."""
    loop = inner_loop(method, kind, fresh=fresh)
    params = method.initial(P.params_of(loop.network))
    shares = [range(K)] if split is None else [range(split), range(split, K)]
    both = Workers([Worker(loop, params, seed=0, tasks=K, share=share) for share in shares])
    vector = P.flatten(params.values())
    both.collect(vector, 0)
    return WorkersObjective(both), vector
