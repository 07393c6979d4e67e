"""Policies of any layers, a user's network say, under params stacked over tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor, nn
from torch.func import functional_call, vmap

from metarl.core import params as P
from metarl.core.distributions import Categorical, Gaussian
from metarl.errors import UserError
from metarl.rl.policies import BoxActions, DiscreteActions, Policy, actions_of, distribution

PolicyMaker = Callable[[Space, Space, torch.Generator], nn.Module]
"""From the observation space, the action space and a generator for the weights to a network.

It gets observations `[N, ...]`, shaped as the space says, and returns a `Gaussian` (mean `[N, a]`, log_std `[1, a]` or
`[N, a]`) or a `Categorical` (normalised log-probabilities `[N, n]`).
"""

STATEFUL = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RNNBase)
"""Layers that keep something of one batch for the next, or draw random numbers of their own."""


class OwnPolicy(Policy):
    """Any network as a policy: the params of each task run through it by `torch.func.vmap`.

    Args:
        network: The network.
        observation_space: The environment's observations, a `Box`.
        action_space: The environment's actions.
        action_scale: Environment actions are this times the policy's.

    Raises:
        UserError: If the network returns no distribution of ours, or cannot run under stacked params; names the layer.
    """

    def __init__(
        self, network: nn.Module, observation_space: spaces.Box, action_space: Space, action_scale: float = 1.0
    ) -> None:
        super().__init__(actions_of(action_space, action_scale))
        self.network, self.shape = network, observation_space.shape
        self.kind: type[Gaussian] | type[Categorical] = Gaussian
        self._check()

    def forward(self, obs: Tensor) -> Any:
        """Return the action distributions in states `[..., N, o]`, observations flattened."""
        params: P.Params = dict(self.network.named_parameters())
        obs = obs.unflatten(-1, self.shape)
        if not self._stacked(params):
            lead = obs.shape[: obs.dim() - len(self.shape)]
            found = self.network(obs.reshape(-1, *self.shape))
            return self.kind(*(value.reshape(*_lead(value, lead)) for value in vars(found).values()))
        return self.kind(*vmap(self._call, in_dims=(0, None, 0), randomness="error")(params, self._constants(obs), obs))

    def _call(self, params: P.Params, buffers: P.Params, obs: Tensor) -> tuple[Tensor, ...]:
        return tuple(vars(functional_call(self.network, (params, buffers), (obs,))).values())

    def _constants(self, obs: Tensor) -> P.Params:
        """Return the network's buffers, where the observations are."""
        return {name: value.to(obs.device) for name, value in self.network.named_buffers()}

    def _stacked(self, params: P.Params) -> bool:
        """Return whether each param has a dimension of tasks in front."""
        return any(value.dim() != self.dims[name] for name, value in params.items())

    def _check(self) -> None:
        """Run the network under params stacked over two tasks, there and back, before anything depends on it."""
        _check_layers(self.network)
        params = P.params_of(self)
        self.dims = {name.removeprefix("network."): value.dim() for name, value in params.items()}
        before = {name: value.clone() for name, value in self.network.named_buffers()}
        size = int(np.prod(self.shape))
        obs = torch.linspace(0, 1, 3 * size, dtype=next(iter(params.values())).dtype).view(1, 3, size).repeat(2, 1, 1)
        try:
            found = self.network(obs[0].unflatten(-1, self.shape))
        except RuntimeError as error:
            raise UserError(f"the policy network fails on observations {[3, *self.shape]}: {error}") from error
        _check_distribution(found, self.actions)
        _check_forgets(self.network, self.actions, obs[0].unflatten(-1, self.shape))
        self.kind = type(found)
        self._check_derivatives(params, obs)
        _check_buffers(self.network, before)

    def _check_derivatives(self, params: P.Params, obs: Tensor) -> None:
        stacked = {name: value.expand(2, *value.shape).clone().requires_grad_() for name, value in params.items()}
        try:
            total = torch.stack([value.square().sum() for value in distribution(self, stacked, obs).parameters]).sum()
            first = P.grad(total, list(stacked.values()), create_graph=True)
            P.grad(torch.stack([g.square().sum() for g in first]).sum(), list(stacked.values()))
        except RuntimeError as error:
            raise UserError(
                f"the policy network {type(self.network).__name__} cannot run with the params of several tasks "
                f"at once, or has no second derivatives: {str(error).splitlines()[0]}"
            ) from error


def _check_layers(network: nn.Module) -> None:
    """Refuse layers and params that cannot learn as those of several tasks.

    Raises:
        UserError: If there are some; names the first.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, STATEFUL):
            raise UserError(
                f"the policy's layer {name!r} ({type(layer).__name__}) keeps or draws something of its own, so it "
                "cannot run with the params of several tasks at once; use LayerNorm or GroupNorm, and no dropout"
            )
    for name, value in network.named_parameters():
        if not value.requires_grad:
            raise UserError(
                f"the policy's param {name!r} is frozen, which meta-learning does not heed; "
                "what must not learn can be a plain tensor"
            )
    if not list(network.parameters()):
        raise UserError(f"the policy network {type(network).__name__} has no params")


def _check_forgets(network: nn.Module, actions: BoxActions | DiscreteActions, obs: Tensor) -> None:
    """Refuse a network that says something else of the same observations once it has seen them.

    Its params are moved first: where the last layer begins at zero, nothing before it would be seen.

    Raises:
        UserError: If it does.
    """
    moved = {name: value.detach() + 0.1 for name, value in network.named_parameters()}
    first, second = (functional_call(network, moved, (obs,)) for _ in range(2))
    _check_distribution(second, actions)
    pairs = zip(first.parameters, second.parameters, strict=True)
    if not all(one.shape == two.shape and torch.allclose(one, two, equal_nan=True) for one, two in pairs):
        raise UserError(
            f"the policy network {type(network).__name__} says something else of the same observations the second "
            "time: it must keep nothing from one call for the next and draw no random numbers; RL² and VariBAD have "
            "a memory of their own"
        )


def _check_buffers(network: nn.Module, before: P.Params) -> None:
    """Refuse buffers that are no longer what they were.

    Raises:
        UserError: If there are some; names the first.
    """
    for name, value in network.named_buffers():
        if name not in before or not torch.allclose(value, before[name], rtol=0, atol=0, equal_nan=True):
            raise UserError(
                f"the policy's buffer {name!r} changes as it runs, which no checkpoint would know of; "
                "a buffer must stay what it was made as"
            )


def _check_distribution(found: Any, actions: BoxActions | DiscreteActions) -> None:
    """Refuse what is no distribution over these actions in three states.

    Raises:
        UserError: If it is none; says what it must be.
    """
    if not isinstance(found, Gaussian | Categorical):
        raise UserError(
            f"the policy network must return metarl.Gaussian or metarl.Categorical, got {type(found).__name__}"
        )
    wanted = Categorical if isinstance(actions, DiscreteActions) else Gaussian
    shape = found.parameters[0].shape
    if type(found) is not wanted or shape != (3, actions.size):
        raise UserError(
            f"actions {actions.space} need a {wanted.__name__} of {actions.size} numbers a state, "
            f"got a {type(found).__name__} of shape {list(shape)} for 3 states"
        )
    if isinstance(found, Gaussian) and found.log_std.shape not in ((1, actions.size), (3, actions.size)):
        raise UserError(
            f"log_std of metarl.Gaussian must have shape [1, {actions.size}], the same in all states, or "
            f"[n, {actions.size}] as the mean of n states (log_std.expand_as(mean), say); "
            f"got {list(found.log_std.shape)}"
        )
    if isinstance(found, Categorical) and found.logits.logsumexp(-1).abs().max() > 1e-3:
        raise UserError(
            "metarl.Categorical takes log-probabilities, which the policy network's are not: "
            "return metarl.Categorical(torch.log_softmax(logits, dim=-1))"
        )


def _lead(value: Tensor, lead: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a distribution's parameter with these leading dimensions; what all states share stays."""
    return (*lead, value.shape[-1]) if value.shape[0] != 1 else (*[1] * len(lead), value.shape[-1])


def make_own_policy(
    make: PolicyMaker, observation_space: Space, action_space: Space, seed: int, action_scale: float = 1.0
) -> OwnPolicy:
    """Build a user's policy; where it draws its weights from the generator, they depend on the seed alone.

    Weights that torch itself draws come from its global generator, seeded the same for the time being.

    Raises:
        UserError: As `OwnPolicy`; and if observations are not a `Box` or the function returns no module.
    """
    if not isinstance(observation_space, spaces.Box):
        raise UserError(f"observations must be a Box, got {observation_space}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make(observation_space, action_space, torch.Generator().manual_seed(seed))
    if not isinstance(network, nn.Module):
        raise UserError(f"the policy's maker must return a torch.nn.Module, got {type(network).__name__}")
    for name, value in network.named_parameters():
        if value.dtype != torch.float32:
            raise UserError(f"the policy's params must be torch.float32, {name!r} is {value.dtype}")
    return OwnPolicy(network, observation_space, action_space, action_scale)
