"""Several clipped steps on the same data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from metarl.errors import check_counts, check_fields, check_positive
from metarl.outer.adam import adam, adam_state, halved
from metarl.outer.objective import MetaObjective, Part, State, Updated
from metarl.threads import one_thread

MOST_HALVINGS = 10
"""After which the params stay where they were."""


def shortened(gradient: Tensor, longest: float) -> Tensor:
    """Return the gradient, scaled down to a norm of `longest` if it is longer."""
    with one_thread():  # the rounding of a sum depends on the number of threads
        norm = float(gradient.double().norm())
    return gradient * (longest / norm) if norm > longest else gradient


def passes(objective: MetaObjective, epochs: int, minibatches: int) -> list[Part | None]:
    """Return which part of the query data each step sees, pass after pass; None where a pass is one step on all."""
    parts = objective.parts(minibatches) if minibatches > 1 else 1
    return [(epoch, index, parts) if parts > 1 else None for epoch, index in product(range(epochs), range(parts))]


@dataclass(frozen=True)
class PPO:
    """The outer update as several steps of Adam on the clipped surrogate (Schulman et al. 2017, equation 7)."""

    outer_lr: float = 1e-3
    """Step size of the outer update."""
    epochs: int = 5
    """Passes through the same data."""
    clip: float = 0.3
    """Probability ratios beyond 1 ± clip earn nothing more."""
    minibatches: int = 1
    """Steps a pass, each on some of every task's episodes; at most one for each episode of a task."""
    max_grad_norm: float | None = None
    """Gradients longer than this are shortened to it; None leaves them."""
    max_kl: float | None = None
    """An update that takes the adapted policies further than this from those that played is halved until it does not,
    and Adam forgets it; None allows any."""
    lr_half_life: int = 0
    """Meta-iterations after which outer_lr has halved, to halve again in as many; 0 keeps it."""

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self)
        check_positive(outer_lr=self.outer_lr, clip=self.clip)
        limits = {"max_grad_norm": self.max_grad_norm, "max_kl": self.max_kl}
        check_positive(**{name: value for name, value in limits.items() if value is not None})
        check_counts(epochs=(self.epochs, 1), minibatches=(self.minibatches, 1), lr_half_life=(self.lr_half_life, 0))

    def initial_state(self, params: Tensor) -> State:
        """Return the state before the first update of params `[P]`."""
        return adam_state(params) | ({"updates": torch.zeros(())} if self.lr_half_life else {})

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the params `[P]` and the state after one update, and what happened."""
        steps = passes(objective, self.epochs, self.minibatches)
        lr = self.outer_lr
        if self.lr_half_life:  # Adam's own count may be put back
            updates = state.get("updates", state["t"] / len(steps))
            lr = halved(lr, float(updates), self.lr_half_life)
            state = state | {"updates": updates + 1}
        before, remembered, losses, norms = params, state, [], []
        if steps[0] is not None:
            losses.append(objective.loss_and_kl(params)[0])
            if not math.isfinite(losses[0]):  # a task to be left out, which the gradient tells
                losses[0] = objective.loss_and_gradient(params)[0]
        for part in steps:
            loss, gradient = objective.loss_and_gradient(params, part)
            losses.append(loss)
            norms.append(float(gradient.norm()))
            if self.max_grad_norm is not None:
                gradient = shortened(gradient, self.max_grad_norm)
            params, state = adam(params, gradient, state, lr)
        params, after, kl, halvings = self._within_bounds(objective, before, params)
        if halvings:
            state = remembered
        metrics = {
            "surrogate_loss": losses[0],
            "gradient_norm": norms[0],
            "approx_kl": kl,
            "surrogate_improvement": losses[0] - after,
        }
        metrics |= {"halvings": float(halvings)} if self.max_kl is not None else {}
        metrics |= {"learning_rate": lr} if self.lr_half_life else {}
        return params, state, metrics

    def _within_bounds(
        self, objective: MetaObjective, before: Tensor, after: Tensor
    ) -> tuple[Tensor, float, float, int]:
        """Return params as far from those before as `max_kl` allows, loss and divergence there, and the halvings."""
        params, halvings = after, 0
        loss, kl = objective.loss_and_kl(params)
        while self.max_kl is not None and not kl <= self.max_kl and halvings < MOST_HALVINGS:  # true for NaN
            halvings += 1
            params = torch.lerp(before, after, 0.5**halvings if halvings < MOST_HALVINGS else 0.0)
            loss, kl = objective.loss_and_kl(params)
        return params, loss, kl, halvings
