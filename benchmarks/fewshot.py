"""One MAML step of few-shot classification: tasks computed a few at a time against a loop over tasks.

    python benchmarks/fewshot.py --json benchmarks/results/fewshot.json
    python benchmarks/fewshot.py --learn2learn FOLDER   # that of learn2learn's unpacked sources, or installed: auto

The network, the tasks and the step (one inner step, second order, the meta-gradient) are the same for all; the
gradients are compared. Systems take turns, figures are medians. Of learn2learn only its MAML is loaded: the rest of
version 0.2.0 needs gym and extensions that do not build on Python 3.11.
"""

from __future__ import annotations

import copy
import dataclasses
import statistics
import sys
import time
import types
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from common import report
from torch import Tensor, nn
from torch.nn import functional

from metarl.core import params as P
from metarl.fewshot.losses import Classification
from metarl.fewshot.networks import ConvNet
from metarl.fewshot.shots import Examples
from metarl.methods import MAML
from metarl.threads import side_by_side

INNER_LR = 0.4
Step = Callable[[], Tensor]


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure MAML steps."""

    json: Path | None = None
    """Where to write the rows."""
    learn2learn: Path | None = None
    """Folder of learn2learn's unpacked sources (the one that holds learn2learn/)."""
    ways: tuple[int, ...] = (5, 20)
    """Classes of a task."""
    filters: tuple[int, ...] = (32, 64)
    """Channels of the network."""
    tasks: int = 16
    """Tasks a step."""
    queries: int = 5
    """Query pictures of each class."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of torch's threads."""
    repeats: int = 7
    """Turns each system gets, after one that warms up."""


class Blocks(nn.Module):
    """The same network as users of a loop write it: plain modules, one task at a time."""

    def __init__(self, filters: int, ways: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(4):
            convolution = nn.Conv2d(filters if i else 1, filters, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(filters, track_running_stats=False), nn.ReLU()]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(filters, ways)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, `[N, ways]`."""
        return self.head(self.body(x).mean((-2, -1)))


def together(network: ConvNet, support: Examples, query: Examples) -> Step:
    """metarl: as many tasks in one forward pass as fit the cache, shared among as many threads as torch has."""
    method, params, number = MAML(inner_lr=INNER_LR), P.params_of(network), torch.get_num_threads()
    losses = [Classification(copy.deepcopy(network)) for _ in range(number)]
    rows = [share.tolist() for share in np.array_split(np.arange(len(support)), number)]

    def gradients(losses: Classification, rows: list[int]) -> Tensor:
        found = []
        for part in P.in_parts(rows, losses.tasks_at_once(query)):
            leaves = {name: value.clone().requires_grad_() for name, value in P.stack(params, len(part)).items()}
            adapted = method.inner_step(losses.loss, leaves, support.select_tasks(part), create_graph=True)
            loss = losses.loss(adapted, query.select_tasks(part)).sum()
            found.append(P.flatten_stacked(P.grad(loss, list(leaves.values()))).sum(0))
        return torch.stack(found).sum(0)

    def step() -> Tensor:
        parts = side_by_side([partial(gradients, *each) for each in zip(losses, rows, strict=True)])
        return torch.stack(parts).sum(0) / len(support)

    return step


def loop(network: Blocks, support: Examples, query: Examples) -> Step:
    """One task after another by `torch.func.functional_call`."""

    def step() -> Tensor:
        params, total = dict(network.named_parameters()), torch.zeros(())
        for task in range(len(support)):
            loss = functional.cross_entropy(network(support.x[task]), support.y[task])
            gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            pairs = zip(params.items(), gradients, strict=True)
            adapted = {name: value - INNER_LR * gradient for (name, value), gradient in pairs}
            logits = torch.func.functional_call(network, adapted, (query.x[task],))
            total = total + functional.cross_entropy(logits, query.y[task]) / len(support)
        return P.flatten(torch.autograd.grad(total, list(params.values())))

    return step


def learn2learn_step(maml: Any, network: Blocks, support: Examples, query: Examples) -> Step:
    """One task after another by learn2learn, as its examples do."""
    wrapped = maml(network, lr=INNER_LR, first_order=False)

    def step() -> Tensor:
        wrapped.zero_grad()
        for task in range(len(support)):
            method = wrapped.clone()
            method.adapt(functional.cross_entropy(method(support.x[task]), support.y[task]))
            (functional.cross_entropy(method(query.x[task]), query.y[task]) / len(support)).backward()
        return P.flatten(value.grad for value in network.parameters())

    return step


def find_learn2learn(folder: Path | None) -> Any:
    """Return learn2learn's MAML, or None where there is none."""
    if folder is not None:
        for name in ("learn2learn", "learn2learn.algorithms"):  # without what their __init__ import
            package = types.ModuleType(name)
            package.__path__ = [str(folder.joinpath(*name.split(".")))]
            sys.modules[name] = package
    try:
        from learn2learn.algorithms.maml import MAML as Found  # type: ignore
    except ImportError:
        return None
    return Found


def examples(args: Args, ways: int, each: int, generator: torch.Generator) -> Examples:
    x = torch.rand(args.tasks, ways * each, 1, 28, 28, generator=generator)
    return Examples(x, torch.arange(ways).repeat_interleave(each).expand(args.tasks, -1))


def measure(args: Args, ways: int, filters: int, maml: Any) -> dict[str, float]:
    """Return the median seconds of a step, by system."""
    generator = torch.Generator().manual_seed(0)
    support, query = (examples(args, ways, each, generator) for each in (1, args.queries))
    network, plain = ConvNet(filters, ways, seed=0), Blocks(filters, ways)
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        theirs.data.copy_(ours.data)
    steps = {"metarl": together(network, support, query), "loop": loop(plain, support, query)}
    if maml is not None:
        steps["learn2learn"] = learn2learn_step(maml, plain, support, query)
    expected = steps["metarl"]()
    for step in steps.values():
        torch.testing.assert_close(step(), expected, rtol=1e-2, atol=1e-4)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    args = tyro.cli(Args)
    maml, rows = find_learn2learn(args.learn2learn), []
    for threads, ways, filters in product(args.threads, args.ways, args.filters):
        torch.set_num_threads(threads)
        found = measure(args, ways, filters, maml)
        ratios = {f"{name} / metarl": value / found["metarl"] for name, value in found.items() if name != "metarl"}
        seconds = {f"{name}, s": value for name, value in found.items()}
        rows.append({"threads": threads, "ways": ways, "filters": filters, **seconds, **ratios})
    report(f"One MAML step of {args.tasks} tasks, 1 shot, {args.queries} queries", rows, args.json)


if __name__ == "__main__":
    main()
