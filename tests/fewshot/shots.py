"""Small supervised problems in float64."""

from __future__ import annotations

import numpy as np
import torch

from metarl.core import params as P
from metarl.fewshot.losses import Classification, Regression
from metarl.fewshot.networks import MLP
from metarl.fewshot.shots import Batch, Lesson
from metarl.fewshot.sinusoid import Sinusoids
from metarl.supervised import ShotPlayer
from metarl.worker import Worker
from metarl.workers import Workers

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
        return Lesson(Batch(x[:, :half], y[:, :half]), Batch(x[:, half:], y[:, half:]))


def player(learner, kind: str, tasks: int = K, fresh: bool = False) -> ShotPlayer:
    """A player of tiny regression or classification tasks, in torch's default precision."""
    if kind == "regression":
        return ShotPlayer(Sinusoids(4, 5), Regression(MLP((1,), (5,), 1, seed=3)), learner, tasks, fresh)
    return ShotPlayer(Blobs(), Classification(MLP((2,), (4,), WAYS, seed=3)), learner, tasks, fresh)


def workers(learner, kind: str, split: int | None = None, fresh: bool = False) -> tuple[Workers, torch.Tensor]:
    """Workers that have collected, and the meta-params."""
    plays = player(learner, kind, fresh=fresh)
    params = learner.initial(P.params_of(plays.network))
    shares = [range(K)] if split is None else [range(split), range(split, K)]
    both = Workers([Worker(plays, params, seed=0, tasks=K, share=share) for share in shares])
    vector = P.flatten(params.values())
    both.collect(vector, 0)
    return both, vector
