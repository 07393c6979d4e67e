"""Adam on flat vectors, as a function of its state, and the outer updates that take Adam steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from metarl.errors import check_counts, check_positive

State = dict[str, Tensor]
"""What an outer update remembers from one meta-iteration to the next; saved with the meta-params."""

Part = tuple[int, int, int]
"""An epoch, a part of the data that it shuffles, and how many parts there are."""


class GradientProblem(Protocol):
    """What gradient steps ask of the data."""

    def loss_and_gradient(self, params: Tensor, part: Part | None = None) -> tuple[float, Tensor]:
        """Return the loss and its gradient `[P]` at params `[P]`, on a part of the data if given."""
        ...

    def parts(self, wanted: int) -> int:
        """Return into how many parts the data can be cut, where so many are wanted."""
        ...

    def loss_and_kl(self, params: Tensor) -> tuple[float, float]:
        """Return the loss, and the KL divergence from the policies that sampled the data, at params `[P]`."""
        ...


def adam_state(params: Tensor) -> State:
    """Return the state before the first step."""
    return {"m": torch.zeros_like(params), "v": torch.zeros_like(params), "t": torch.zeros((), dtype=torch.float64)}


def adam(
    params: Tensor,
    gradient: Tensor,
    state: State,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Tensor, State]:
    """Return the params and the state after one step of Adam (Kingma & Ba 2015, algorithm 1)."""
    t = state["t"] + 1
    m = beta1 * state["m"] + (1 - beta1) * gradient
    v = beta2 * state["v"] + (1 - beta2) * gradient.square()
    m_hat, v_hat = m / (1 - beta1 ** float(t)), v / (1 - beta2 ** float(t))
    return params - lr * m_hat / (v_hat.sqrt() + epsilon), state | {"m": m, "v": v, "t": t}


@dataclass(frozen=True)
class Adam:
    """The outer update as one step of Adam."""

    outer_lr: float = 1e-3
    """Step size of the outer update."""

    clip: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_positive(outer_lr=self.outer_lr)

    def initial_state(self, params: Tensor) -> State:
        """Return the state before the first update of params `[P]`."""
        return adam_state(params)

    def update(self, problem: GradientProblem, params: Tensor, state: State) -> tuple[Tensor, State, dict[str, float]]:
        """Return the params `[P]` and the state after one update, and what happened."""
        loss, gradient = problem.loss_and_gradient(params)
        params, state = adam(params, gradient, state, self.outer_lr)
        return params, state, {"surrogate_loss": loss, "gradient_norm": float(gradient.norm())}


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

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_positive(outer_lr=self.outer_lr, clip=self.clip)
        check_counts(epochs=(self.epochs, 1), minibatches=(self.minibatches, 1))

    def initial_state(self, params: Tensor) -> State:
        """Return the state before the first update of params `[P]`."""
        return adam_state(params)

    def update(self, problem: GradientProblem, params: Tensor, state: State) -> tuple[Tensor, State, dict[str, float]]:
        """Return the params `[P]` and the state after one update, and what happened."""
        parts = problem.parts(self.minibatches) if self.minibatches > 1 else 1
        losses, norms = [], []
        if parts > 1:
            losses.append(problem.loss_and_kl(params)[0])
            if not math.isfinite(losses[0]):  # a task to be left out, which the gradient tells
                losses[0] = problem.loss_and_gradient(params)[0]
        for epoch, index in product(range(self.epochs), range(parts)):
            part = [(epoch, index, parts)] if parts > 1 else []
            loss, gradient = problem.loss_and_gradient(params, *part)
            losses.append(loss)
            norms.append(float(gradient.norm()))
            params, state = adam(params, gradient, state, self.outer_lr)
        after, kl = problem.loss_and_kl(params)
        metrics = {
            "surrogate_loss": losses[0],
            "gradient_norm": norms[0],
            "approx_kl": kl,
            "surrogate_improvement": losses[0] - after,
        }
        return params, state, metrics
