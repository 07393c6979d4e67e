"""Meta-SGD: the step size of every param is learned with the param."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from metarl.core.gradient_step import Rate
from metarl.core.params import Params
from metarl.methods.maml import MAML

PREFIX = "lr."
"""Before a param's name: its step size."""


@dataclass(frozen=True)
class MetaSGD(MAML):
    """MAML with a learned step size per param, θ' = θ - α ∘ ∇L(θ) (Li et al. 2017, algorithm 2).

    The meta-params gain an entry `lr.<name>` for each param, `inner_lr` to begin with; a step size
    may become negative.
    """

    def initial(self, params: Params) -> Params:
        """Return the network's params and their step sizes."""
        rates = {PREFIX + name: torch.full_like(value, self.inner_lr) for name, value in params.items()}
        return params | rates

    def moved(self, names: Iterable[str]) -> list[str]:
        """Return the params that are no step sizes."""
        return [name for name in names if not name.startswith(PREFIX)]

    def rates(self, adapted: Params, scale: float) -> Rate:
        """Return the step size of each param."""
        return {name: scale * adapted[PREFIX + name] for name in self.moved(adapted)}
