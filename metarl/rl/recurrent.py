"""Policies with a memory that lasts for several episodes of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl.core.distributions import Valued
from metarl.core.layers import mlp, prepared_mlp
from metarl.core.params import Params, of_part, stack
from metarl.rl import gru, lstm
from metarl.rl.policies import CategoricalMLP, Policy, make_policy, observation_size
from metarl.seeding import seed_of_part
from metarl.threads import one_thread


class RecurrentPolicy(nn.Module):
    """A recurrent unit under a policy network, and under a critic if wanted.

    The unit is a GRU (Cho et al. 2014) or an LSTM (Hochreiter and Schmidhuber 1997), whose memory is its output and its
    cell. Its inputs are the observation, the action before (one-hot if discrete), the reward before, and
    whether an episode ended there, all of them embedded by a tanh layer if wanted. Weights begin Xavier-uniform on the
    inputs and orthogonal on the memory, gate by gate; biases at 0, that of an LSTM's forget gate at 1 (Jozefowicz et
    al. 2015).

    Args:
        observation_space: The environment's observations, a `Box`.
        action_space: The environment's actions, `Box` or `Discrete`.
        hidden: Width h of the unit, then that of each hidden layer of the policy network, and of the critic.
        seed: Seed of the initial weights.
        init_std: Standard deviation to begin with, in the policy's units.
        action_scale: Environment actions are this times the policy's.
        embedding: Width of the layer before the unit; 0 leaves it out.
        critic: Whether a network on the memory says what the rest of the lifetime is worth.
        truncation: Steps that the gradient reaches back through the memory, at most; 0 is all.
        memory: Which unit.
    """

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        hidden: Sequence[int],
        seed: int,
        init_std: float = 1.0,
        action_scale: float = 1.0,
        embedding: int = 0,
        critic: bool = False,
        truncation: int = 0,
        memory: Literal["gru", "lstm"] = "gru",
    ) -> None:
        super().__init__()
        width, self.lstm, self.truncation = hidden[0], memory == "lstm", truncation
        self.size = 2 * width if self.lstm else width
        features = spaces.Box(-np.inf, np.inf, (width,))
        self.actor = make_policy(features, action_space, hidden[1:], seed, init_std, action_scale)
        self.before_size = self.actor.actions.size + 2
        inputs = observation_size(observation_space) + self.before_size
        generator = torch.Generator().manual_seed(seed_of_part(seed))
        weights = gated_unit(embedding or inputs, width, generator, "ifgo" if self.lstm else "rzn")
        self.input_weight, self.input_bias, self.memory_weight, self.memory_bias = weights
        if self.lstm:
            nn.init.ones_(self.input_bias[width : 2 * width])
        self.embed = mlp([inputs, embedding], generator) if embedding else None
        self.critic = Critic([width, *hidden[1:]], generator) if critic else None

    def forward(self, inputs: Tensor, memory: Tensor) -> tuple[Any, Tensor]:
        """Return the action distributions after each input, `[K, E L]`, and the memory `[K, E, size]` after the last.

        Takes params stacked over tasks only, `[K, ...]`, which are the same in every task.

        Args:
            inputs: Inputs in order of time, `[K, E, L, i]`.
            memory: Memory before the first, `[K, E, size]`.
        """
        if self.embed is not None:
            inputs = torch.tanh(self.embed(inputs.flatten(1, 2))).unflatten(1, inputs.shape[1:3])
        weights = self.input_weight, self.memory_weight, self.input_bias, self.memory_bias
        if self.lstm:
            states, cell = lstm.unroll(inputs, memory, weights, self.truncation)
            after = torch.cat([states[:, :, -1], cell], dim=-1)
        else:
            states = gru.unroll(inputs, memory, weights, self.truncation)
            after = states[:, :, -1]
        seen = states.flatten(1, 2)
        actions = self.actor(seen)
        return actions if self.critic is None else self.critic(actions, seen), after

    def prepared(self, params: Params) -> Callable[[Tensor, Tensor], tuple[Any, Tensor]]:
        """Return the forward pass under stacked params that stay the same, without the critic, of inputs and memory."""
        weights = params["input_weight"], params["memory_weight"], params["input_bias"], params["memory_bias"]
        remember = (lstm if self.lstm else gru).prepared(weights)
        actor = self.actor.prepared(of_part("actor.", params))
        embed = None if self.embed is None else prepared_mlp(self.embed, params, "embed.")

        def forward(inputs: Tensor, memory: Tensor) -> tuple[Any, Tensor]:
            if embed is not None:
                inputs = torch.tanh(embed(inputs.flatten(1, 2))).unflatten(1, inputs.shape[1:3])
            states, after = remember(inputs, memory)
            return actor(states.flatten(1, 2)), after

        return forward

    def seen(self, obs: Tensor, act: Tensor, rew: Tensor, ended: Tensor) -> Tensor:
        """Return what the inputs of the next step hold of this one, `[..., before_size]`: action, reward, end."""
        return torch.cat([encoded(self.actor, act, rew.dtype), rew[..., None], ended[..., None]], dim=-1)

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw the noise that actions are sampled with."""
        return self.actor.noise(rng, shape)

    def env_action(self, act: Tensor) -> NDArray[Any]:
        """Return the actions that the environment takes."""
        return self.actor.env_action(act)


def encoded(actor: Policy, act: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a policy's actions as inputs of a network, `[..., a]`: one-hot if they are discrete."""
    if isinstance(actor, CategoricalMLP):
        return nn.functional.one_hot(act.long(), actor.actions.size).to(dtype)
    return act


def gated_unit(inputs: int, size: int, generator: torch.Generator, gates: str = "rzn") -> list[nn.Parameter]:
    """Return weight and bias of the inputs, then of the memory, drawn gate by gate: the order that checkpoints have."""

    def drawn(begin: Callable[..., Tensor], columns: int) -> nn.Parameter:
        return nn.Parameter(torch.cat([begin(torch.empty(size, columns), generator=generator) for _ in gates]))

    def zeros() -> nn.Parameter:
        return nn.Parameter(torch.zeros(len(gates) * size))

    with one_thread():  # the rounding of an orthogonal matrix may depend on the number of threads
        by_input, by_memory = drawn(nn.init.xavier_uniform_, inputs), drawn(nn.init.orthogonal_, size)
    return [by_input, zeros(), by_memory, zeros()]


class Critic(nn.Module):
    """A perceptron that says what states are worth, in units of the returns it has learnt.

    Args:
        sizes: Inputs, then the width of each hidden layer.
        generator: Source of the initial weights.
    """

    def __init__(self, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.head = mlp([*sizes, 1], generator)
        self.unit = nn.Parameter(torch.tensor([0.0, 1.0]))

    def forward(self, actions: Any, features: Tensor) -> Valued:
        """Return action distributions `[K, N]` with the values of their states, from features `[K, N, f]`."""
        return Valued(actions, self.head(features), self.unit.detach()[:, None])


class Memory:
    """What a policy remembers in each of several lifetimes.

    Args:
        policy: A policy with a memory, such as `RecurrentPolicy`.
        params: Its params.
        rows: Number of lifetimes N.
    """

    def __init__(self, policy: Any, params: Params, rows: int) -> None:
        self.policy, self.params = policy, params
        self.state = torch.zeros(rows, policy.size)
        self.before = torch.zeros(rows, policy.before_size)
        self._obs, self._next = self.before[:, :0], self.state
        self._forward: dict[int, Callable[[Tensor, Tensor], Any]] = {}  # by tasks, for the params stay the same

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be pickled and is made again."""
        return vars(self) | {"_forward": {}}

    def act(self, obs: Tensor) -> Any:
        """Return the action distributions `[K, E]` for observations `[K, E, o]`, K E = N; remembers nothing yet."""
        rows = obs.shape[:2]
        inputs = torch.cat([obs, self.before.view(*rows, -1)], dim=-1)[:, :, None]
        if len(obs) not in self._forward:
            self._forward[len(obs)] = self.policy.prepared(stack(self.params, len(obs)))
        actions, after = self._forward[len(obs)](inputs, self.state.view(*rows, -1))
        self._obs, self._next = obs.flatten(0, 1), after.flatten(0, 1)
        return actions

    def see(self, act: Tensor, rew: Tensor, alive: Tensor) -> None:
        """Remember the observation acted on, the actions and their rewards, in lifetimes that are alive `[N]`."""
        kept = alive[:, None]
        new = self.policy.seen(self._obs, act.flatten(0, 1), rew, torch.zeros_like(rew))
        self.state = torch.where(kept, self._next, self.state)
        self.before = torch.where(kept, new, self.before)

    def of(self, lifetimes: Tensor) -> Memory:
        """Return the memory of these lifetimes, given by index `[n]`; each may come several times."""
        some = Memory(self.policy, self.params, len(lifetimes))
        some.state, some.before = self.state[lifetimes], self.before[lifetimes]
        return some

    def end_episode(self) -> None:
        """Remember that an episode has ended."""
        self.before = self.before.clone()
        self.before[:, -1] = 1.0
