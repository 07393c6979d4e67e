"""Trust-region policy optimisation of the meta-params (Schulman et al. 2015, appendix C)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from metarl.errors import UserError, check_fields, check_positive
from metarl.outer.objective import MetaObjective, State, Updated
from metarl.threads import one_thread


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], target: Tensor, iterations: int = 10, tolerance: float = 1e-10
) -> Tensor:
    """Solve Ax = b for a positive semi-definite A given as x -> Ax.

    Stops early when the squared residual falls under `tolerance` times that of the start, or when
    rounding shows a direction without positive curvature; then the last x stands.
    """
    x, residual, direction = torch.zeros_like(target), target.clone(), target.clone()
    squared = dot(residual, residual)
    goal = tolerance * squared
    for _ in range(iterations):
        if squared <= goal:
            break
        image = product(direction)
        curvature = dot(direction, image)
        if not curvature > 0:
            break
        step = squared / curvature
        x = x + step * direction
        residual = residual - step * image
        previous, squared = squared, dot(residual, residual)
        direction = residual + (squared / previous) * direction
    return x


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product, whose rounding does not depend on the number of threads."""
    with one_thread():
        return a @ b


@dataclass(frozen=True)
class TRPO:
    """The outer update as a natural-gradient step with a line search."""

    max_kl: float = 0.01
    """Largest mean KL divergence between the adapted policies before and after the step."""
    cg_iterations: int = 10
    """Conjugate-gradient iterations."""
    cg_damping: float = 1e-5
    """Multiple of the identity added to the Fisher matrix."""
    fisher_stride: int = 4
    """Fisher products use every n-th sample; 1 uses all, and only then they are exact. With 4 they differed by a tenth
    to a quarter (cosine 0.97 or more) on our tasks: that changes the search direction, not what the line search
    accepts."""
    line_search_steps: int = 15
    """Most candidates the line search tries."""
    backtrack: float = 0.8
    """Factor between one candidate's step size and the next one's."""

    clip: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self)
        names = ("max_kl", "cg_iterations", "fisher_stride", "line_search_steps")
        check_positive(**{name: getattr(self, name) for name in names})
        if not 0 <= self.cg_damping < float("inf"):
            raise UserError(f"cg_damping must be 0 or more and finite, got {self.cg_damping}")
        if not 0 < self.backtrack < 1:
            raise UserError(f"backtrack must lie between 0 and 1, got {self.backtrack}")

    def initial_state(self, params: Tensor) -> State:
        """Return the state before the first update: there is none."""
        return {}

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the params `[P]` after one step, the state, and what happened."""
        params, metrics = self.step(objective, params)
        return params, state, metrics

    def step(self, objective: MetaObjective, params: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Return the params `[P]` after one step, and what happened.

        The step is sqrt(2 max_kl / s'Fs) s with Fs = g, shortened until the surrogate loss improves
        within the trust region; where no candidate passes, the params come back untouched. Conjugate gradients run in
        float64, as they amplify rounding by the condition of F; gradient and products have the params' precision.
        """
        loss, gradient = objective.loss_and_gradient(params)
        metrics = {
            "surrogate_loss": loss,
            "gradient_norm": float(gradient.norm()),
            "approx_kl": 0.0,
            "surrogate_improvement": 0.0,
            "line_search_steps": 0.0,
            "line_search_failed": 0.0,
        }
        if not gradient.any():
            return params, metrics

        def product(vector: Tensor) -> Tensor:
            fisher = objective.fisher_product(params, vector.to(params.dtype), self.fisher_stride)
            return fisher.double() + self.cg_damping * vector

        direction = conjugate_gradient(product, gradient.double(), self.cg_iterations)
        curvature = dot(direction, product(direction))
        if not (torch.isfinite(direction).all() and curvature > 0):
            return params, metrics | {"line_search_failed": 1.0}
        full_step = torch.sqrt(2 * self.max_kl / curvature) * direction
        for i in range(self.line_search_steps):
            candidate = (params - self.backtrack**i * full_step).to(params.dtype)
            new_loss, kl = objective.loss_and_kl(candidate)
            if new_loss < loss and kl <= self.max_kl:  # False for NaN
                return candidate, metrics | {
                    "approx_kl": kl,
                    "surrogate_improvement": loss - new_loss,
                    "line_search_steps": i + 1.0,
                }
        failed = {"line_search_steps": float(self.line_search_steps), "line_search_failed": 1.0}
        return params, metrics | failed
