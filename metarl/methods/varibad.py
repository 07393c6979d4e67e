"""VariBAD: a policy that acts on its belief about the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metarl.errors import UserError, check_counts, check_positive
from metarl.methods.protocols import QUERY, Losses, Outputs
from metarl.methods.rl2 import RL2


@dataclass(frozen=True)
class VariBAD(RL2):
    """Infer the task by a variational auto-encoder, and act on state and posterior (Zintgraf et al. 2020).

    A recurrent encoder reads a lifetime and keeps a Gaussian posterior over a latent task; a decoder predicts from it
    the rewards of the whole lifetime, past and future. Encoder and decoder maximise the evidence lower bound,
    the policy the return: its gradient does not reach the encoder. All learn from the same lifetimes, those of this
    meta-iteration, where the paper keeps a buffer of earlier ones for the auto-encoder.
    """

    latent: int = 5
    """Size of the latent task vector."""
    decoder: int = 32
    """Width of the decoder's two hidden layers."""
    elbo_coef: float = 1.0
    """Weight of the evidence lower bound, in nats a reward."""
    kl_coef: float = 1.0
    """Weight of the KL divergence from each posterior to the one before."""
    elbo_points: int = 50
    """At most so many posteriors of a lifetime are judged, and by so many of its rewards; they are drawn."""

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        super().__post_init__()
        counts = {"latent": (self.latent, 1), "decoder": (self.decoder, 1), "elbo_points": (self.elbo_points, 1)}
        check_counts(**counts)
        check_positive(elbo_coef=self.elbo_coef, kl_coef=self.kl_coef, vf_coef=self.vf_coef)
        if self.embedding:
            raise UserError(f"varibad has no embedding, got {self.embedding}")
        if self.truncation:
            raise UserError(f"varibad learns through whole lifetimes: truncation must stay 0, got {self.truncation}")
        if self.memory != "gru":
            raise UserError(f"varibad's encoder is a GRU: memory must stay 'gru', got {self.memory!r}")

    def meta_loss(
        self, losses: Losses, new: Outputs, old: Outputs, data: Sequence[Any], numbers: Mapping[str, float]
    ) -> Tensor:
        """Return the loss of policy and critic minus the weighted evidence lower bound, `[K]`."""
        acting = super().meta_loss(losses, new, old, data, numbers)
        return acting - self.elbo_coef * losses.elbo(new(QUERY), data[QUERY])
