"""Reptile: move towards the params that adapt to the tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metarl.core.gradient_step import gradient_step
from metarl.core.params import Params, grad
from metarl.errors import NotFinite, UserError, check_counts, check_fields, check_positive
from metarl.methods.protocols import Loss, Method
from metarl.outer import Adam, Interpolation, MetaObjective, State, Updated
from metarl.outer.adam import adam, adam_state

SQUARES, STEPS = "adam.v.", "adam.t"
"""What the inner Adam carries beside the params: running squares of each gradient, and the steps taken `[K]`."""


@dataclass(frozen=True)
class Reptile(Method):
    """Adapt to each task by k steps, move towards the mean outcome (Nichol et al. 2018).

    One task a meta-iteration gives the serial version (algorithm 1), several the batched one
    (algorithm 2), all of whose tasks adapt side by side. There is no query data: the outcome W
    itself says where to go. With `Adam` as outer update the gradient is (θ - W) / α.
    """

    inner_lr: float = 0.1
    """Step size of the inner gradient steps."""
    inner_steps: int = 3
    """Inner gradient steps, each on fresh data."""
    inner_optimizer: Literal["sgd", "adam"] = "sgd"
    """What takes the inner steps; Adam without momentum (β1 = 0), begun anew in every task."""
    outer: Interpolation | Adam = field(default_factory=Interpolation)
    """How the meta-params move."""

    plays_query: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self, "outer", "inner_optimizer")
        check_positive(inner_lr=self.inner_lr)
        check_counts(inner_steps=(self.inner_steps, 1))
        if self.inner_optimizer not in ("sgd", "adam"):
            raise UserError(f"inner_optimizer must be sgd or adam, got {self.inner_optimizer!r}")
        if not isinstance(self.outer, Interpolation | Adam):
            raise UserError(f"Reptile's outer update is Interpolation or Adam, got {type(self.outer).__name__}")

    def inner_step(
        self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0, *, create_graph: bool = False
    ) -> Params:
        """Return the stacked params `[K, ...]` after one inner step, and what Adam carries."""
        if self.inner_optimizer == "sgd":
            return gradient_step(loss, adapted, support, scale * self.inner_lr, create_graph=False)
        params = {n: value.detach().requires_grad_() for n, value in adapted.items() if not n.startswith("adam.")}
        gradients = grad(loss(params, support).sum(), list(params.values()))
        t = adapted.get(STEPS, torch.zeros(len(next(iter(adapted.values())))))
        stepped: Params = {STEPS: t + 1}
        for (name, value), g in zip(params.items(), gradients, strict=True):
            state = adam_state(g) | {"v": adapted.get(SQUARES + name, torch.zeros_like(g)), "t": t[0]}
            moved, state = adam(value.detach(), g, state, scale * self.inner_lr, beta1=0.0)
            stepped |= {name: moved, SQUARES + name: state["v"]}
        return stepped

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the meta-params `[P]` after one update."""
        towards = (objective.adapted() - params).to(params.dtype)
        metrics = {"displacement": float(towards.norm())}
        if not math.isfinite(metrics["displacement"]):
            raise NotFinite("the adapted params are not finite")
        if isinstance(self.outer, Adam):
            moved, state, about = self.outer.step(params, -towards / self.inner_lr, state)
            return moved, state, metrics | about
        epsilon = self.outer.at(float(state["t"]))
        return params + epsilon * towards, state | {"t": state["t"] + 1}, metrics | {"outer_step_size": epsilon}
