"""A method with some params left out of its inner loop at test time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metarl.core.params import Params
from metarl.methods.protocols import Loss, Method


@dataclass(frozen=True)
class Frozen(Method):
    """A method whose inner steps leave some params as they are (Raghu et al. 2020, section 3.1); for testing only."""

    method: Method
    names: frozenset[str]
    """The params left out."""
    outer: None = None

    @property
    def inner_steps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Inner steps, each on fresh data."""
        return self.method.inner_steps

    def inner_step(
        self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0, *, create_graph: bool = False
    ) -> Params:
        """Return the stacked params `[K, ...]` after one inner step of the others.

        A gradient step moves each param by its own gradient alone, so those frozen may be put back after it.
        """
        moved = self.method.inner_step(loss, adapted, support, scale, create_graph=create_graph)
        return {name: adapted[name] if name in self.names else value for name, value in moved.items()}


def layers_of(params: Params) -> list[list[str]]:
    """Group the names of a network's params into its layers, in order.

    A normalisation, which has vectors only, joins the layer before it; those of no layer (a policy's log_std) join the
    last. What a context tells of rewards is no layer: it has no say in what the policy does.
    """
    modules: dict[str, list[str]] = {}
    for name in params:
        if not name.startswith("reward."):
            modules.setdefault(name.rpartition(".")[0], []).append(name)
    rest, layers = modules.pop("", []), []
    for names in modules.values():
        if layers and all(params[name].dim() == 1 for name in names):
            layers[-1] += names
        else:
            layers.append(names)
    layers[-1] += rest
    return layers
