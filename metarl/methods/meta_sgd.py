"""Meta-SGD: the step size of every param is learned with the param."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from metarl.core.gradient_step import gradient_step
from metarl.core.params import Params
from metarl.methods.maml import MAML
from metarl.methods.protocols import Loss

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

    def inner_step(
        self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0, *, create_graph: bool = False
    ) -> Params:
        """Return the stacked params and step sizes `[K, ...]` after one inner step of the params."""
        names = [name for name in adapted if not name.startswith(PREFIX)]
        return gradient_step(
            loss,
            adapted,
            support,
            {name: scale * adapted[PREFIX + name] for name in names},
            names=names,
            first_order=self.first_order,
            create_graph=create_graph,
        )
