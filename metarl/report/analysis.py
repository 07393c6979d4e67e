"""Rapid learning or feature reuse? What adaptation changes, layer by layer (Raghu et al. 2020)."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeGuard

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metarl.core import params as P
from metarl.core.params import Params
from metarl.core.similarity import linear_cka, svcca
from metarl.errors import UserError, check_counts
from metarl.evaluation import AdaptationCurve, Evaluation, evaluate
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.methods import method_name
from metarl.methods.protocols import InnerLoop
from metarl.models.rl import Model
from metarl.models.supervised import FewShot
from metarl.report.features import representations
from metarl.report.frozen import Frozen, layers_of
from metarl.report.nil import nil_accuracy
from metarl.rl.own_policy import OwnPolicy
from metarl.seeding import TEST, draw_tasks, task_rngs


@dataclass(frozen=True)
class Analysis:
    """What adaptation changes in a network."""

    title: str
    """What the tasks are."""
    iteration: int
    """Meta-iterations of training behind it."""
    frozen: list[AdaptationCurve]
    """Adaptation curves with the first 0, 1, ... layers frozen, the last with all of them."""
    cka: NDArray[np.float64]
    """Linear CKA of each layer before and after adaptation, `[tasks, layers]`."""
    cca: NDArray[np.float64]
    """Mean SVCCA coefficient of the same, `[tasks, layers]`."""
    nil: NDArray[np.float64] | None = None
    """In classification: the accuracy of the nearest support features, without an inner loop, `[tasks]`."""

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON takes them."""
        return {
            "title": self.title,
            "iteration": self.iteration,
            "frozen": [curve.as_dict() for curve in self.frozen],
            "cka": self.cka.tolist(),
            "cca": self.cca.tolist(),
            "nil": None if self.nil is None else self.nil.tolist(),
        }


def analyse(model: Model | FewShot, steps: int | None = None, tasks: int = 20, seed: int = 1) -> Analysis:
    """Freeze layers at test time, and compare each layer before and after adaptation.

    Args:
        model: The model, which stays as it is.
        steps: Gradient steps; by default as many as in training.
        tasks: Held-out tasks.
        seed: Chooses the tasks and their data.

    Raises:
        UserError: If a number is out of range or the model does not adapt by gradient steps.
    """
    c = model.trainer.config
    if c.method.remembers:
        raise UserError(f"nothing to analyse: {method_name(c.method)} adapts its memory, not its layers")
    if isinstance(model.trainer.network, OwnPolicy):
        raise UserError("analyse takes the built-in perceptrons only, not a policy of your own or on pictures")
    steps = c.method.inner_steps if steps is None else steps
    check_counts(steps=(steps, 1), tasks=(tasks, 1), seed=(seed, 0))
    params = model.trainer.params
    with closing(model.trainer.build_inner_loop(held_out=True, tasks=tasks)) as inner_loop:
        cka, cca = similarities(inner_loop, params, steps, seed)
        nil = nil_accuracy(inner_loop, params, seed) if _classifies(inner_loop) else None
        frozen = freeze_layers(inner_loop, params, Evaluation(c.title, steps, seed))
    return Analysis(c.title, model.trainer.progress.iteration, frozen, cka, cca, nil)


def _classifies(inner_loop: InnerLoop) -> TypeGuard[ShotInnerLoop]:
    return (
        inner_loop.measure == "accuracy" and len(layers_of(inner_loop.losses.own(P.params_of(inner_loop.network)))) > 1
    )


def freeze_layers(inner_loop: InnerLoop, params: Params, how: Evaluation) -> list[AdaptationCurve]:
    """Draw adaptation curves with the first 0, 1, 2, ... layers left out of the inner loop, up to all of them."""
    layers = layers_of(inner_loop.losses.own(params))
    curves = []
    for number in range(len(layers) + 1):
        names = frozenset(name for layer in layers[:number] for name in layer)
        held = dataclasses.replace(inner_loop, method=Frozen(inner_loop.method, names))
        curves.append(evaluate(held, params, how))
    return curves


def similarities(
    inner_loop: InnerLoop, params: Params, steps: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return linear CKA and mean SVCCA coefficient of each layer before and after adaptation, `[K, layers]`.

    Both representations are of the same examples: query examples, or the states that the adapted policy visits.
    A layer's representation is what it hands on, after its activation function.
    """
    k = inner_loop.tasks
    played = inner_loop.play(params, draw_tasks(inner_loop, k, seed, TEST), task_rngs(seed, TEST, 0, range(k)))
    adapted, data = next(islice(played, steps, None))
    before = representations(inner_loop, P.stack(params, k), data)
    after = representations(inner_loop, adapted, data)
    pairs = [[(a[task].double(), b[task].double()) for a, b in zip(before, after, strict=True)] for task in range(k)]
    cka, cca = (np.array([[measure(a, b) for a, b in task] for task in pairs]) for measure in (linear_cka, svcca))
    return cka, cca


def draw_analysis(analyses: list[Analysis]) -> Figure:
    """Draw the last analysis, and how it came about where there are several along training."""
    last, along = analyses[-1], len(analyses) > 1
    figure = Figure(figsize=(10, 7.2 if along else 3.6), layout="constrained")
    frozen, similar, *below = figure.subplots(2 if along else 1, 2).flat
    means = [curve.mean[-1] for curve in last.frozen]
    spread = [curve.interval[1][-1] - curve.mean[-1] for curve in last.frozen]
    frozen.errorbar(range(len(means)), means, spread, color="#4269d0", marker="o", capsize=3)
    frozen.axhline(last.frozen[0].mean[0], color="#9aa0a6", ls="--", lw=1, label="before adaptation")
    frozen.set_xticks(range(len(means)), [frozen_name(i) for i in range(len(means))])
    frozen.set(xlabel="frozen layers", ylabel=last.frozen[0].measure, title=last.title)
    frozen.legend(fontsize=8, frameon=False)
    numbers = np.arange(1, last.cka.shape[1] + 1)
    for values, name, colour in ((last.cka, "CKA", "#4269d0"), (last.cca, "CCA", "#ff725c")):
        similar.plot(numbers, values.mean(0), marker="o", color=colour, label=name)
    similar.set(xlabel="layer (the last is the head)", title="similarity before and after adaptation", ylim=(0, 1.05))
    similar.set_xticks(numbers)
    similar.legend(fontsize=8, frameon=False)
    if along:
        _draw_along(analyses, *below)
    return figure


def _draw_along(analyses: list[Analysis], reached: Axes, similar: Axes) -> None:
    """Draw what is reached with layers frozen, and each layer's CKA, against the meta-iteration."""
    iterations = [analysis.iteration for analysis in analyses]
    layers = analyses[-1].cka.shape[1]
    before = [analysis.frozen[0].mean[0] for analysis in analyses]
    reached.plot(iterations, before, color="#9aa0a6", ls="--", lw=1, label="before adaptation")
    for number in (0, 1, layers - 1):
        means = [analysis.frozen[number].mean[-1] for analysis in analyses]
        reached.plot(iterations, means, marker="o", ms=3, label=f"frozen: {frozen_name(number)}")
    reached.set(xlabel="meta-iteration", ylabel=analyses[-1].frozen[0].measure, title="layers frozen, along training")
    for layer in range(layers):
        values = [analysis.cka[:, layer].mean() for analysis in analyses]
        similar.plot(iterations, values, marker="o", ms=3, label=f"layer {layer + 1}")
    similar.set(xlabel="meta-iteration", title="CKA along training", ylim=(0, 1.05))
    for axis in (reached, similar):
        axis.legend(fontsize=7, frameon=False)


def frozen_name(layers: int) -> str:
    """Return the first layers in words: none, 1, 1-2, ..."""
    return "none" if layers == 0 else "1" if layers == 1 else f"1-{layers}"
