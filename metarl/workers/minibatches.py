"""Parts of the query data: which episodes of each task an outer step sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.core.params import each_tensor
from metarl.outer import Part
from metarl.seeding import SHUFFLE, stream_rng


def choose(part: Part, seed: int, iteration: int, tasks: Sequence[int], episodes: int) -> Tensor:
    """Return the indices of the episodes in a part, as many in every task, `[K, E']`.

    Each epoch shuffles the episodes of a task anew, by seed, iteration, epoch and task index alone, so a
    task's parts do not depend on the worker that owns it.

    Args:
        part: The epoch, which part of it, and how many there are: at most `episodes`.
        seed: The run's seed.
        iteration: The meta-iteration.
        tasks: Indices of the tasks.
        episodes: Episodes E of each task.
    """
    epoch, index, parts = part
    shuffles = [stream_rng(seed, SHUFFLE, iteration, epoch, task) for task in tasks]
    return torch.from_numpy(np.stack([np.array_split(rng.permutation(episodes), parts)[index] for rng in shuffles]))


def cut(distribution: Any, chosen: Tensor, episodes: int) -> Any:
    """Return the distributions `[K, E T]` in the episodes chosen `[K, E']`; what all states share stays."""

    def rows(value: Tensor) -> Tensor:
        if value.dim() < 3 or value.shape[1] == 1:
            return value
        return value.unflatten(1, (episodes, -1))[torch.arange(len(chosen))[:, None], chosen].flatten(1, 2)

    return each_tensor(rows, distribution)
