"""Classification without an inner loop (NIL; Raghu et al. 2020, section 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from metarl.core import params as P
from metarl.core.params import Params
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.report.features import batch_features
from metarl.seeding import TEST, draw_tasks, task_rngs


def nil_accuracy(inner_loop: ShotInnerLoop, params: Params, seed: int) -> NDArray[np.float64]:
    """Return the accuracy `[K]` of giving each query example the class of the support example nearest in features.

    Features are what the last layer before the head hands on, at the meta-params themselves; classes of
    several shots are as near as the nearest of them.
    """
    k = inner_loop.tasks
    tasks = draw_tasks(inner_loop, k, seed, TEST)
    shots = inner_loop.source.draw(tasks, task_rngs(seed, TEST, 0, range(k))(0)).to(inner_loop.device)
    stacked = {name: value.to(inner_loop.device) for name, value in P.stack(params, k).items()}
    support, query = (
        batch_features(inner_loop, stacked, batch)[-2].flatten(2) for batch in (shots.support, shots.query)
    )
    found = nearest(support, shots.support.y.cpu(), query)
    return (found == shots.query.y.cpu()).double().mean(-1).numpy()


def nearest(support: Tensor, classes: Tensor, query: Tensor) -> Tensor:
    """Return the classes `[K, M]` of the support features `[K, N, p]` nearest by cosine to the query's `[K, M, p]`."""
    cosine = functional.normalize(query, dim=-1) @ functional.normalize(support, dim=-1).mT
    return classes.gather(1, cosine.argmax(-1))
