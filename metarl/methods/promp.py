"""Proximal meta-policy search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metarl.errors import UserError, check_positive
from metarl.methods.maml import MAML
from metarl.methods.protocols import Losses, Outputs, needs_episodes
from metarl.outer import PPO, MetaObjective, State, Updated


@dataclass(frozen=True)
class ProMP(MAML):
    """MAML with several clipped outer steps and a penalty on how far the policies before adaptation move.

    Source: Rothfuss et al. 2019, algorithm 1 and equation 13. Its inner loss is the paper's likelihood ratio,
    whose second derivative neglects one of three terms but has little variance, or DiCE's, which has all of them.
    Log-likelihood, which loses two, is refused.
    """

    outer: PPO = field(default_factory=PPO)
    """How the meta-params move."""
    inner_kl: float = 5e-4
    """Coefficient η of the KL penalty on the policies that played the support data."""
    inner_kl_target: float | None = None
    """If given, η doubles or halves where that KL divergence leaves this target by a factor of 1.5."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if self.first_order:
            raise UserError("first_order contradicts ProMP, which is about the second derivatives; use ppo-maml")
        if not isinstance(self.outer, PPO):
            raise UserError(f"ProMP's outer update is PPO, got {type(self.outer).__name__}")
        if not 0 <= self.inner_kl < float("inf"):
            raise UserError(f"inner_kl must be 0 or more and finite, got {self.inner_kl}")
        if self.inner_kl_target is not None:
            check_positive(inner_kl_target=self.inner_kl_target)

    def meta_loss(
        self, losses: Losses, new: Outputs, old: Outputs, data: Sequence[Any], numbers: Mapping[str, float]
    ) -> Tensor:
        """Return the clipped loss of the adapted policies plus η times the KL of those before, `[K]`."""
        clipped = super().meta_loss(losses, new, old, data, numbers)
        kls = [losses.kl(old(step), new(step), data[step]) for step in range(self.inner_steps)]
        return clipped + numbers["inner_kl"] * torch.stack(kls).mean(0)

    def initial_state(self, params: Tensor) -> State:
        """Return the state of Adam and the coefficient η."""
        return self.outer.initial_state(params) | {"inner_kl": torch.tensor(self.inner_kl, dtype=torch.float64)}

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the meta-params `[P]` after the clipped outer steps."""
        coefficient = state["inner_kl"]
        objective = objective.given(inner_kl=float(coefficient))
        params, state, metrics = self.outer.update(objective, params, state)
        kl = objective.support_kl(params)
        if self.inner_kl_target is not None:
            if kl > 1.5 * self.inner_kl_target:
                coefficient = coefficient * 2
            elif kl < self.inner_kl_target / 1.5:
                coefficient = coefficient / 2
        metrics |= {"inner_kl": kl, "inner_kl_coefficient": float(state["inner_kl"])}
        return params, state | {"inner_kl": coefficient}, metrics

    def check(self, settings: Any) -> None:
        """Refuse examples, and the inner loss whose second derivative loses most."""
        needs_episodes(self, settings)
        if getattr(settings, "inner_loss", None) == "log-likelihood":
            raise UserError("ProMP needs an inner loss whose second derivative counts: likelihood-ratio or dice")
