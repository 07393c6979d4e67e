"""RL²: a recurrent policy whose memory learns the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metarl.core.params import Params
from metarl.errors import UserError, check_counts, check_fields
from metarl.methods.protocols import (
    QUERY,
    WITHOUT_CONTEXT,
    Loss,
    Losses,
    Method,
    Outputs,
    as_deep,
    needs_episodes,
    times_as_many_iterations,
)
from metarl.outer import PPO, Adam, MetaObjective, State, Updated

STEPS_AN_ITERATION = 8000
"""Environment steps of a meta-iteration, about: many small updates teach a memory more than a few large ones."""
FEWEST_TASKS = 8
"""Tasks of a meta-iteration, at least."""


@dataclass(frozen=True)
class RL2(Method):
    """Train a recurrent policy for the return of lifetimes of several episodes in one task (Duan et al. 2016).

    Nothing adapts but the policy's memory, which begins empty with each lifetime. The first width in
    `hidden` is the memory's size (an LSTM has as many cells besides); `episodes` counts the lifetimes played in each
    task. The meta-loss is that of whole lifetimes. It has the terms of actor-critic methods (Schulman et al. 2017,
    equation 9).
    """

    lifetime: int = 5
    """Episodes of a lifetime."""
    vf_coef: float = 0.5
    """Weight of the critic's loss; 0 has no critic, but the baseline that is fitted to each task."""
    ent_coef: float = 0.0
    """Weight of the mean entropy of the action distributions, which is made larger."""
    embedding: int = 0
    """Width of a layer on observation, action, reward and end before the memory; 0 leaves it out."""
    truncation: int = 0
    """Steps after which backpropagation through time takes the memory for a constant; 0 goes back to the first."""
    memory: Literal["gru", "lstm"] = "gru"
    """The recurrent unit."""
    outer: PPO | Adam = field(
        default_factory=lambda: PPO(outer_lr=3e-3, epochs=5, clip=0.2, minibatches=4, max_grad_norm=0.5)
    )
    """How the params move."""

    remembers: ClassVar[bool] = True

    fixed: ClassVar[Mapping[str, Any]] = {
        "policy": "built-in",
        "activation": "tanh",
        "layer_norm": False,
        "last_layer_std": None,
        **WITHOUT_CONTEXT,
        "inner_loss": "likelihood-ratio",
    }
    """Settings, of the run or its own, that must stay so: of networks without a memory, and of the inner step."""

    units: ClassVar[Mapping[str, str]] = {"critic.unit": "ret"}
    """Params that follow mean and standard deviation of a field of the lifetimes: returns, for the critic's values."""

    def __post_init__(self) -> None:
        """Check kinds and ranges."""
        check_fields(self, "outer")
        if self.lifetime < 2:
            raise UserError(
                f"lifetime must be at least 2 episodes, so that there is something to learn from; got {self.lifetime}"
            )
        if not isinstance(self.outer, PPO | Adam):
            raise UserError(f"RL²'s outer update is PPO or Adam, got {type(self.outer).__name__}")
        check_counts(embedding=(self.embedding, 0), truncation=(self.truncation, 0))
        for name in ("vf_coef", "ent_coef"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be 0 or more and finite, got {getattr(self, name)}")

    @property
    def inner_steps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Episodes of a lifetime that others follow."""
        return self.lifetime - 1

    def initial(self, params: Params) -> Params:
        """Return the network's params, the units last."""
        learned = {name: value for name, value in params.items() if name not in self.units}
        return learned | {name: params[name] for name in self.units if name in params}

    def inner_step(
        self, loss: Loss, adapted: Params, support: Any, scale: float = 1.0, *, create_graph: bool = False
    ) -> Params:
        """Return the params as they are: the memory adapts."""
        return adapted

    def meta_loss(
        self, losses: Losses, new: Outputs, old: Outputs, data: Sequence[Any], numbers: Mapping[str, float]
    ) -> Tensor:
        """Return the clipped loss of lifetimes plus the critic's, minus the weighted entropy, `[K]`."""
        loss = super().meta_loss(losses, new, old, data, numbers)
        if self.vf_coef:
            loss = loss + self.vf_coef * losses.value_loss(new(QUERY), data[QUERY])
        if self.ent_coef:
            loss = loss - self.ent_coef * losses.entropy(new(QUERY), data[QUERY])
        return loss

    def initial_state(self, params: Tensor) -> State:
        """Return the outer update's state, and with a critic the number of updates seen."""
        return self.outer.initial_state(params) | ({"seen": torch.zeros(())} if self.vf_coef else {})

    def update(self, objective: MetaObjective, params: Tensor, state: State) -> Updated:
        """Return the meta-params `[P]` after the outer steps; the units follow the lifetimes first."""
        if not self.vf_coef:
            return self.outer.update(objective, params, state)
        now = torch.tensor(
            [_unit(*objective.step_moments(field)) for field in self.units.values()], dtype=torch.float64
        )
        learned, before = params.split([len(params) - now.numel(), now.numel()])
        seen = state["seen"] + 1
        units = torch.lerp(before.double(), now.flatten(), 1 / min(float(seen), 10.0))
        params, state, metrics = self.outer.update(objective, torch.cat([learned, units.to(params.dtype)]), state)
        return params, state | {"seen": seen}, metrics

    def check(self, settings: Any) -> None:
        """Refuse examples, an inner loss, and settings of networks without a memory."""
        needs_episodes(self, settings)
        name = type(self).__name__.lower()
        for setting, value in self.fixed.items():
            if (given := getattr(settings, setting, value)) != value:
                if setting == "inner_loss":
                    raise UserError(f"{name} adapts its memory and has no inner loss, got {given}")
                raise UserError(f"{name} has a recurrent policy of its own: {setting} must stay {value!r}")

    def suited(self, settings: Any) -> dict[str, Any]:
        """Return tasks and lifetimes (`episodes`) of a meta-iteration, how many of these there are, and λ; no context.

        Lifetimes hold as many episodes as the other method's inner steps and query data together; those of RL² itself,
        of another length, as many as before. Where that is more than `STEPS_AN_ITERATION` environment steps, there are
        fewer lifetimes, two at least, and then fewer tasks; the run's environment steps stay, and so do the number of
        its evaluations and checkpoints. λ is at most 0.95, or else each action would be credited with the noise of all
        later episodes. Where the settings are of lifetimes as long already, all of these stay.
        """
        needs_episodes(self, settings)
        before = settings.method
        if isinstance(before, type(self)) and before.lifetime == self.lifetime:
            return ({"baseline": "linear"} if self.vf_coef else {}) | as_deep(self, settings)
        played = settings.episodes * (before.inner_steps + before.plays_query)
        lifetimes = max(1, played // self.lifetime)
        suited = {"episodes": lifetimes, "gae_lambda": min(settings.gae_lambda, 0.95)}
        suited |= WITHOUT_CONTEXT | as_deep(self, settings)
        suited |= {"baseline": "linear"} if self.vf_coef else {}
        if settings.longest_episode is None:
            return suited
        tasks, fewer = self.sizes(settings.tasks, lifetimes, self.lifetime * settings.longest_episode)
        times = lifetimes * settings.tasks / (fewer * tasks)
        return suited | times_as_many_iterations(settings, times) | {"episodes": fewer, "tasks": tasks}

    def sizes(self, tasks: int, lifetimes: int, steps: int) -> tuple[int, int]:
        """Return tasks and lifetimes of a meta-iteration, from what there are and the environment steps of one."""
        room = STEPS_AN_ITERATION // steps
        fewer = min(lifetimes, max(2, room // tasks))
        return min(tasks, max(FEWEST_TASKS, room // fewer)), fewer


def _unit(mean: float, square: float) -> tuple[float, float]:
    """Return mean and standard deviation from the mean and the mean square; of what does not vary, mean and 1."""
    std = max(square - mean**2, 0.0) ** 0.5
    return mean, std if std > 1e-6 * max(1.0, abs(mean)) else 1.0
