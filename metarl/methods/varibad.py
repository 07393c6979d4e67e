"""VariBAD: a policy that acts on its belief about the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from metarl.errors import UserError, check_counts, check_positive
from metarl.methods.protocols import QUERY, Losses, Outputs
from metarl.methods.rl2 import FEWEST_TASKS, RL2
from metarl.outer import PPO, Adam, MetaObjective, State, Updated
from metarl.outer.adam import adam, adam_state
from metarl.outer.ppo import passes

BELIEF = "belief."
"""Before the names of what the belief's Adam remembers."""
STEPS_AN_ITERATION = 3200
"""Environment steps of a meta-iteration, about: no gradient of policy and critic goes through time, so many of their
steps are cheap, and fresh lifetimes more often are worth more than many of them at once."""


@dataclass(frozen=True)
class VariBAD(RL2):
    """Infer the task by a variational auto-encoder, and act on state and posterior (Zintgraf et al. 2020).

    A recurrent encoder reads a lifetime and keeps a Gaussian posterior over a latent task; a decoder predicts from it
    the rewards of the whole lifetime, past and future. Policy and critic learn first, by PPO on the posteriors that
    were acted on, of which they see mean and standard deviation. Then encoder and decoder maximise the evidence lower
    bound, by an Adam of their own. Both learn from the lifetimes of this meta-iteration, where the paper's code keeps a
    buffer of earlier ones for the auto-encoder.
    """

    fixed: ClassVar[Mapping[str, Any]] = {**RL2.fixed, "embedding": 0, "truncation": 0, "memory": "gru"}

    units: ClassVar[Mapping[str, str]] = {"reward_unit": "rew", **RL2.units}

    own_layers: ClassVar[int] = 1
    """The belief's memory; the policy has no recurrent unit under it."""

    lifetime: int = 2
    """Episodes of a lifetime."""
    bootstrap: bool = True
    """Whether a lifetime is cut, for the critic, where it ends, and would have gone on; else nothing has a worth after
    its end. The critic sees no clock, and cannot know that the end is near."""
    outer: PPO | Adam = field(
        default_factory=lambda: PPO(outer_lr=1e-3, epochs=20, clip=0.2, minibatches=1, max_grad_norm=0.5)
    )
    """How policy and critic move."""
    latent: int = 5
    """Size of the latent task vector."""
    decoder: int = 32
    """Width of the decoder's two hidden layers."""
    elbo_lr: float = 1e-3
    """Step size of encoder and decoder."""
    elbo_epochs: int = 40
    """Passes of theirs through the data of a meta-iteration, in as many minibatches as the outer update has."""
    kl_coef: float = 1.0
    """Weight of the KL divergence from each posterior to the one before."""
    elbo_points: int = 25
    """At most so many posteriors of a lifetime are judged, and by so many of its rewards; they are drawn."""

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        super().__post_init__()
        check_counts(**{name: (getattr(self, name), 1) for name in ("latent", "decoder", "elbo_epochs", "elbo_points")})
        check_positive(elbo_lr=self.elbo_lr, kl_coef=self.kl_coef, vf_coef=self.vf_coef)
        if self.embedding:
            raise UserError(f"varibad has no embedding, got {self.embedding}")
        if self.truncation:
            raise UserError(f"varibad learns through whole lifetimes: truncation must stay 0, got {self.truncation}")
        if self.memory != "gru":
            raise UserError(f"varibad's encoder is a GRU: memory must stay 'gru', got {self.memory!r}")

    def meta_loss(
        self, losses: Losses, new: Outputs, old: Outputs, data: Sequence[Any], numbers: Mapping[str, float]
    ) -> Tensor:
        """Return the loss of policy and critic, or minus the evidence lower bound where that is asked for, `[K]`."""
        if "elbo" in numbers:
            return -losses.elbo(new(QUERY), data[QUERY])
        return super().meta_loss(losses, new, old, data, numbers)

    def sizes(self, tasks: int, lifetimes: int, steps: int) -> tuple[int, int]:
        """Return tasks and lifetimes of a small meta-iteration, each lifetime in a task of its own."""
        return min(tasks * lifetimes, max(FEWEST_TASKS, STEPS_AN_ITERATION // steps)), 1

    def initial_state(self, params: Tensor) -> State:
        """Return the states of the outer update and of the belief's Adam."""
        return super().initial_state(params) | _named(adam_state(params))

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the meta-params `[P]` after the steps of policy and critic, and then those of the belief."""
        params, acting, metrics = super().update(objective, params, state)
        belief = {name.removeprefix(BELIEF): value for name, value in state.items() if name.startswith(BELIEF)}
        bound = objective.given(elbo=1.0)
        losses = []
        for part in passes(objective, self.elbo_epochs, getattr(self.outer, "minibatches", 1)):
            loss, gradient = bound.loss_and_gradient(params, part)
            losses.append(loss)
            params, belief = adam(params, gradient, belief, self.elbo_lr)
        first = losses[: len(losses) // self.elbo_epochs]
        return params, state | acting | _named(belief), metrics | {"elbo": -sum(first) / len(first)}


def _named(state: State) -> State:
    return {BELIEF + name: value for name, value in state.items()}
