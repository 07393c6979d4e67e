"""Policies with a memory that lasts for several episodes of a task, and what they ask of lifetimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from metarl.core.params import Params, stack
from metarl.rl.distributions import Distribution
from metarl.rl.episodes import Episodes, span_of
from metarl.rl.gru import unroll
from metarl.rl.losses import PolicyGradient
from metarl.rl.policies import CategoricalMLP, make_policy, observation_size
from metarl.threads import one_thread


class RecurrentPolicy(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) under a policy network.

    Its inputs are the observation, the action before (one-hot if discrete), the reward before, and
    whether an episode ended there. Weights begin Xavier-uniform on the inputs and orthogonal on the memory,
    gate by gate, biases at zero.

    Args:
        observation_space: The environment's observations, a `Box`.
        action_space: The environment's actions, `Box` or `Discrete`.
        hidden: Size of the memory, then the width of each hidden layer of the policy network.
        seed: Seed of the initial weights.
        init_std: Standard deviation to begin with, in the policy's units.
        action_scale: Environment actions are this times the policy's.
    """

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        hidden: Sequence[int],
        seed: int,
        init_std: float = 1.0,
        action_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.size = hidden[0]
        features = spaces.Box(-np.inf, np.inf, (self.size,))
        self.actor = make_policy(features, action_space, hidden[1:], seed, init_std, action_scale)
        self.action_size = self.actor.actions.size
        inputs = observation_size(observation_space) + self.action_size + 2
        generator = torch.Generator().manual_seed(seed + 1)

        def gates(begin: Callable[..., Tensor], columns: int) -> nn.Parameter:
            return nn.Parameter(torch.cat([begin(torch.empty(self.size, columns), generator=generator) for _ in "rzn"]))

        with one_thread():  # the rounding of an orthogonal matrix may depend on the number of threads
            self.input_weight = gates(nn.init.xavier_uniform_, inputs)
            self.input_bias = nn.Parameter(torch.zeros(3 * self.size))
            self.memory_weight = gates(nn.init.orthogonal_, self.size)
            self.memory_bias = nn.Parameter(torch.zeros(3 * self.size))

    def forward(self, inputs: Tensor, memory: Tensor) -> tuple[Any, Tensor]:
        """Return the action distributions after each input, `[K, E L]`, and the memory `[K, E, h]` after the last.

        Takes params stacked over tasks only, `[K, ...]`, which are the same in every task.

        Args:
            inputs: Inputs in order of time, `[K, E, L, i]`.
            memory: Memory before the first, `[K, E, h]`.
        """
        weights = self.input_weight, self.memory_weight, self.input_bias, self.memory_bias
        states = unroll(inputs.transpose(1, 2).contiguous(), memory, weights)
        return self.actor(states.transpose(1, 2).flatten(1, 2)), states[:, -1]

    def encode(self, act: Tensor) -> Tensor:
        """Return actions as inputs, `[..., a]`."""
        if isinstance(self.actor, CategoricalMLP):
            return nn.functional.one_hot(act.long(), self.action_size).to(self.input_weight.dtype)
        return act

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw the noise that actions are sampled with."""
        return self.actor.noise(rng, shape)

    def env_action(self, act: Tensor) -> NDArray[Any]:
        """Return the actions that the environment takes."""
        return self.actor.env_action(act)


class Memory:
    """What a policy remembers in each of several lifetimes.

    Args:
        policy: The policy.
        params: Its params.
        rows: Number of lifetimes N.
    """

    def __init__(self, policy: RecurrentPolicy, params: Params, rows: int) -> None:
        self.policy, self.params = policy, params
        self.state = torch.zeros(rows, policy.size)
        self.before = torch.zeros(rows, policy.action_size + 2)
        self._next = self.state

    def act(self, obs: Tensor) -> Any:
        """Return the action distributions `[K, E]` for observations `[K, E, o]`, K E = N; remembers nothing yet."""
        rows = obs.shape[:2]
        inputs = torch.cat([obs, self.before.view(*rows, -1)], dim=-1)[:, :, None]
        stacked = stack(self.params, len(obs))
        actions, after = functional_call(self.policy, stacked, (inputs, self.state.view(*rows, -1)))
        self._next = after.flatten(0, 1)
        return actions

    def see(self, act: Tensor, rew: Tensor, alive: Tensor) -> None:
        """Remember the observation acted on, the actions and their rewards, in lifetimes that are alive `[N]`."""
        kept = alive[:, None]
        new = torch.cat([self.policy.encode(act).flatten(0, 1), rew[:, None], torch.zeros(len(rew), 1)], dim=-1)
        self.state = torch.where(kept, self._next, self.state)
        self.before = torch.where(kept, new, self.before)

    def copies(self, rows: int) -> Memory:
        """Return the memory of its first lifetime in several rows."""
        copy = Memory(self.policy, self.params, rows)
        copy.state, copy.before = self.state[:1].expand(rows, -1), self.before[:1].expand(rows, -1)
        return copy

    def repeated(self, times: int) -> Memory:
        """Return the memory of each lifetime in so many rows, one after another."""
        several = Memory(self.policy, self.params, len(self.state) * times)
        several.state = self.state.repeat_interleave(times, 0)
        several.before = self.before.repeat_interleave(times, 0)
        return several

    def lifetimes(self, first: int, every: int) -> Memory:
        """Return the memory of every n-th lifetime from the first one given."""
        some = Memory(self.policy, self.params, len(self.state[first::every]))
        some.state, some.before = self.state[first::every], self.before[first::every]
        return some

    def end_episode(self) -> None:
        """Remember that an episode has ended."""
        self.before = self.before.clone()
        self.before[:, -1] = 1.0


def join(policy: RecurrentPolicy, played: Sequence[Episodes], longest: int | None = None) -> Episodes:
    """Return lifetimes `[K, E, L, ...]` from their episodes: steps one after another, padding last.

    Their observations are the policy's inputs. With `longest`, the longest there could be, they are padded to a length
    that those of other tasks come to as well.
    """
    ends = [torch.zeros_like(e.mask).scatter_(2, (e.lengths.long() - 1)[..., None], 1.0) for e in played]
    mask = torch.cat([episodes.mask for episodes in played], dim=2)
    order = mask.argsort(dim=2, descending=True, stable=True)[..., : int(mask.sum(-1).max())]

    def in_order(parts: Sequence[Tensor]) -> Tensor:
        x = torch.cat(list(parts), dim=2)
        index = order.view(*order.shape, *[1] * (x.dim() - 3)).expand(*order.shape, *x.shape[3:])
        return x.gather(2, index)

    def before(x: Tensor) -> Tensor:
        return nn.functional.pad(x[:, :, :-1], (0, 0, 1, 0))

    names = ("obs", "act", "rew", "mask", "logp", "adv")
    steps: dict[str, Any] = {name: in_order([getattr(episodes, name) for episodes in played]) for name in names}
    life = Episodes(**steps)
    seen = torch.cat([policy.encode(life.act), life.rew[..., None], in_order(ends)[..., None]], dim=-1)
    inputs = torch.cat([life.obs, before(seen)], dim=-1) * life.mask[..., None]
    life = replace(life, obs=inputs, unstable=sum(episodes.unstable for episodes in played))
    return life if longest is None else life.at_length(min(span_of(order.shape[-1]), longest))


@dataclass(frozen=True)
class LifetimeGradient(PolicyGradient):
    """The policy-gradient objectives of a recurrent policy on whole lifetimes."""

    policy: RecurrentPolicy

    def threads(self) -> AbstractContextManager[None]:
        """Return the context of one thread: hundreds of small steps in turn only wait for the others."""
        return one_thread()

    def tasks_at_once(self, data: Episodes) -> int:
        """Return the number of all tasks: many small steps in turn take as long for a few."""
        return len(data)

    def outputs(self, params: Params, episodes: Episodes) -> Distribution:
        """Return the action distributions in every step, `[K, E L]`, under params that all tasks share."""
        start = episodes.obs.new_zeros(*episodes.mask.shape[:2], self.policy.size)
        return functional_call(self.policy, self.own(params), (episodes.obs, start))[0]
