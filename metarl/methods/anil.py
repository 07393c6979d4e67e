"""Almost no inner loop: only the head adapts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from metarl.methods.maml import MAML


def head(names: Iterable[str]) -> list[str]:
    """Return the params of the head: of the layer declared last, and those of no layer (a Gaussian's log_std)."""
    names = list(names)
    own = [name.removeprefix("network.") for name in names]  # a network of one's own stands behind a prefix
    layers = [name.rpartition(".")[0] for name in own]
    last = next(layer for layer in reversed(layers) if layer)
    return [name for name, layer in zip(names, layers, strict=True) if layer in ("", last)]


@dataclass(frozen=True)
class ANIL(MAML):
    """MAML whose inner loop leaves the body of the network alone, in training and testing (Raghu et al. 2020).

    The outer update trains body and head.
    """

    @property
    def hears_rewards(self) -> bool:
        """The context is no part of the head."""
        return False

    def moved(self, names: Iterable[str]) -> list[str]:
        """Return the params of the head."""
        return head(names)
