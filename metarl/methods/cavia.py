"""CAVIA: the inner loop moves a context, not the network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from metarl.errors import UserError
from metarl.methods.maml import MAML
from metarl.outer import PPO, TRPO, Adam


def context(names: Iterable[str]) -> list[str]:
    """Return the params that are called `context`, by their names in the network.

    Raises:
        UserError: If there are none.
    """
    names = list(names)
    if found := [name for name in names if name.rpartition(".")[-1] == "context"]:
        return found
    raise UserError(f"cavia adapts params called context, and the network has none, only {', '.join(names)}")


@dataclass(frozen=True)
class CAVIA(MAML):
    """MAML whose inner loop moves a context alone: inputs of the network that are params (Zintgraf et al. 2019).

    The outer update trains everything. That includes the context to begin with, which the paper keeps at zero; with the
    first layer's bias it is one param too many, so both learn the same networks.
    """

    outer: TRPO | PPO | Adam = field(default_factory=PPO)
    """How the meta-params move."""

    default_context: ClassVar[int] = 16
    """Params in the context where the settings do not say how many."""

    def moved(self, names: Iterable[str]) -> list[str]:
        """Return the params of the context."""
        return context(names)

    def suited(self, settings: Any) -> dict[str, Any]:
        """Return what other methods change too, and a network that can have a context."""
        return super().suited(settings) | ({"network": "mlp"} if getattr(settings, "network", "mlp") == "conv" else {})
