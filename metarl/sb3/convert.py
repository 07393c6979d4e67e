"""Policy networks handed over between stable-baselines3's PPO and ours."""

from __future__ import annotations

import io
import math
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.preprocessing import is_image_space

from metarl.core.layers import LayerNorm, full_bias
from metarl.core.params import Params
from metarl.errors import UserError
from metarl.rl.policies import BoxActions, CategoricalMLP, GaussianMLP, Policy


def as_params(model: PPO, like: Params) -> Params:
    """Return the policy network of a PPO model under the names of our policies, and a context as it is in `like`.

    Raises:
        UserError: If the network has other shapes.
    """
    state = model.policy.state_dict()
    found = {name: state[theirs] for name, theirs in _names(like).items() if not _of_context(name)}
    for name, value in found.items():
        if value.shape != like[name].shape:
            raise UserError(f"PPO's {name} has shape {tuple(value.shape)}, ours {tuple(like[name].shape)}")
    return like | {name: value.detach().clone().cpu() for name, value in found.items()}


def as_ppo(policy: Policy, params: Params, env: gymnasium.Env, **settings: Any) -> PPO:
    """Return a PPO model that acts as one of our policies; its value network is untrained.

    A Gaussian policy's action scale goes into the last layer and the standard deviation, so that the
    model acts in the environment's own units and needs no wrapper.

    Args:
        policy: The policy.
        params: Its params, for one task.
        env: One environment, which says what is observed and done; the model can be given others later.
        **settings: Keyword arguments of `stable_baselines3.PPO`.

    Raises:
        UserError: If stable-baselines3 cannot represent the policy, or its params are not finite.
    """
    _check(policy, env.observation_space, env.action_space)
    for name, value in params.items():
        if not torch.isfinite(value).all():
            raise UserError(f"the policy's params are not finite ({name}); cannot export it")
    head: Any = policy.mean if isinstance(policy, GaussianMLP) else policy.logits
    layers = list(head.children())
    hidden = [layer.out_features for layer in layers[:-1] if isinstance(layer, torch.nn.Linear)]
    activation = next((type(layer) for layer in layers if not list(layer.parameters())), torch.nn.Tanh)
    like_ours = {"net_arch": hidden, "activation_fn": activation}
    model = PPO("MlpPolicy", env, device="cpu", policy_kwargs=like_ours, **settings)
    state = model.policy.state_dict()
    folded = _without_context(params)
    for name, theirs in _names(folded).items():
        state[theirs] = folded[name].detach().clone()
    if isinstance(policy, GaussianMLP) and isinstance(policy.actions, BoxActions):
        floored = state["log_std"].clamp(min=policy.min_log_std)
        state["log_std"] = floored + math.log(policy.actions.scale)
        for part in ("weight", "bias"):
            state[f"action_net.{part}"] *= policy.actions.scale
    model.policy.load_state_dict(state)
    return model


def is_perceptron(policy: Any) -> bool:
    """Return whether a policy's network is one that PPO's perceptrons can be: ours without layer norm."""
    ours = isinstance(policy, GaussianMLP | CategoricalMLP)
    return ours and not any(isinstance(m, LayerNorm) for m in policy.modules())


def _of_context(name: str) -> bool:
    return name.startswith("reward.") or name.rpartition(".")[-1] in ("context", "into")


def _without_context(params: Params) -> Params:
    """Return the params with the biases of layers that have a context as large as it makes them."""
    kept = {name: value for name, value in params.items() if not _of_context(name)}
    for name in params:
        if name.endswith(".context"):
            layer = name.removesuffix("context")
            kept[f"{layer}bias"] = full_bias({part: params[layer + part] for part in ("bias", "into", "context")})
    return kept


def model_bytes(model: BaseAlgorithm) -> bytes:
    """Return the file that the `load` of an algorithm of stable-baselines3 reads."""
    file = io.BytesIO()
    model.save(file)
    return file.getvalue()


def _names(params: Params) -> dict[str, str]:
    """Return stable-baselines3's name of each of our params."""
    head = "mean" if "log_std" in params else "logits"
    last = max(int(name.split(".")[1]) for name in params if name.startswith(head))
    names = {}
    for name in params:
        _, _, rest = name.partition(".")
        layer, _, part = rest.partition(".")
        names[name] = f"action_net.{part}" if layer == str(last) else f"mlp_extractor.policy_net.{rest}"
    return names | ({"log_std": "log_std"} if "log_std" in params else {})


def _check(policy: Any, observations: gymnasium.Space, actions: gymnasium.Space) -> None:
    """Refuse what stable-baselines3's policies cannot do.

    Raises:
        UserError: If they cannot.
    """
    if hasattr(policy, "seen"):
        raise UserError("stable-baselines3's PPO has no memory, so no policy with a memory can be exported to it")
    if not is_perceptron(policy):
        raise UserError("only the built-in perceptrons without layer norm can be exported to stable-baselines3's PPO")
    if is_image_space(observations):
        raise UserError(f"stable-baselines3 would rearrange the pictures observed, {observations}; cannot export")
    if isinstance(actions, spaces.Discrete) and actions.start:
        raise UserError(f"stable-baselines3 counts actions from 0, the environment from {actions.start}; cannot export")
    if isinstance(actions, spaces.Box) and not np.all(np.isfinite([actions.low, actions.high])):
        raise UserError(f"stable-baselines3 needs bounded actions, the environment's are {actions}; cannot export")
