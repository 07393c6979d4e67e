"""RL²: a recurrent policy whose memory learns the task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from metarl.core.params import Params
from metarl.errors import UserError, check_fields
from metarl.methods.protocols import Loss, Method, needs_episodes
from metarl.outer import PPO, Adam


@dataclass(frozen=True)
class RL2(Method):
    """Train a recurrent policy for the return of lifetimes of several episodes in one task (Duan et al. 2016).

    Nothing adapts but the policy's memory, which begins empty with each lifetime. The first width in
    `hidden` is the memory's size; `episodes` counts the lifetimes played in each task. The meta-loss is that of
    whole lifetimes.
    """

    lifetime: int = 5
    """Episodes of a lifetime."""
    outer: PPO | Adam = field(default_factory=lambda: PPO(outer_lr=3e-3, epochs=5, clip=0.2, minibatches=4))
    """How the params move."""

    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self, "outer")
        if self.lifetime < 2:
            raise UserError(
                f"lifetime must be at least 2 episodes, so that there is something to learn from; got {self.lifetime}"
            )
        if not isinstance(self.outer, PPO | Adam):
            raise UserError(f"RL²'s outer update is PPO or Adam, got {type(self.outer).__name__}")

    @property
    def inner_steps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Episodes of a lifetime that others follow."""
        return self.lifetime - 1

    def inner_step(
        self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0, *, create_graph: bool = False
    ) -> Params:
        """Return the params as they are: the memory adapts."""
        return adapted

    def check(self, settings: Any) -> None:
        """Refuse examples, an inner loss, and settings of networks without a memory."""
        needs_episodes(self, settings)
        usual = {"policy": "built-in", "activation": "tanh", "layer_norm": False, "last_layer_std": None}
        for name, value in usual.items():
            if getattr(settings, name, value) != value:
                raise UserError(f"rl2 has a recurrent policy of its own: {name} must stay {value!r}")
        if getattr(settings, "inner_loss", "likelihood-ratio") != "likelihood-ratio":
            raise UserError(f"rl2 adapts its memory and has no inner loss, got {settings.inner_loss}")

    def suited(self, settings: Any) -> dict[str, Any]:
        """Return the number of lifetimes, in `episodes`, and λ.

        Lifetimes hold as many episodes as the other method's inner steps and query data together; those of RL² itself,
        of another length, as many as before. λ is at most 0.95, or else each action would be credited with the noise
        of all later episodes.
        """
        needs_episodes(self, settings)
        played = settings.episodes * (settings.method.inner_steps + settings.method.plays_query)
        return {"episodes": max(1, played // self.lifetime), "gae_lambda": min(settings.gae_lambda, 0.95)}
