"""Adam on flat vectors, as a function of its state, and the outer update that takes one step of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from metarl.errors import check_counts, check_fields, check_positive
from metarl.outer.objective import MetaObjective, State, Updated


def adam_state(params: Tensor) -> State:
    """Return the state before the first step."""
    return {"m": torch.zeros_like(params), "v": torch.zeros_like(params), "t": torch.zeros((), dtype=torch.float64)}


def adam(
    params: Tensor, gradient: Tensor, state: State, lr: float, beta1: float = 0.9, epsilon: float = 1e-8
) -> tuple[Tensor, State]:
    """Return the params and the state after one step of Adam (Kingma & Ba 2015, algorithm 1)."""
    t, beta2 = state["t"] + 1, 0.999
    m = beta1 * state["m"] + (1 - beta1) * gradient
    v = beta2 * state["v"] + (1 - beta2) * gradient.square()
    m_hat, v_hat = m / (1 - beta1 ** float(t)), v / (1 - beta2 ** float(t))
    return params - lr * m_hat / (v_hat.sqrt() + epsilon), state | {"m": m, "v": v, "t": t}


def halved(lr: float, steps: float, half_life: int) -> float:
    """Return a step size that has halved once in every `half_life` steps; 0 keeps it."""
    return lr * 0.5 ** (steps / half_life) if half_life else lr


@dataclass(frozen=True)
class Adam:
    """The outer update as one step of Adam."""

    outer_lr: float = 1e-3
    """Step size of the outer update."""
    lr_half_life: int = 0
    """Meta-iterations after which outer_lr has halved, to halve again in as many; 0 keeps it."""

    clip: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self)
        check_positive(outer_lr=self.outer_lr)
        check_counts(lr_half_life=(self.lr_half_life, 0))

    def initial_state(self, params: Tensor) -> State:
        """Return the state before the first update of params `[P]`."""
        return adam_state(params)

    def step(self, params: Tensor, gradient: Tensor, state: State) -> Updated:
        """Return the params `[P]` and the state after one step along a gradient, and its size where that falls."""
        lr = halved(self.outer_lr, float(state["t"]), self.lr_half_life)
        params, state = adam(params, gradient, state, lr)
        return params, state, {"learning_rate": lr} if self.lr_half_life else {}

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the params `[P]` and the state after one update, and what happened."""
        loss, gradient = objective.loss_and_gradient(params)
        params, state, metrics = self.step(params, gradient, state)
        return params, state, {"surrogate_loss": loss, "gradient_norm": float(gradient.norm())} | metrics
