"""A policy for one task, as scripts and stable-baselines3's tools use it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.params import Params
from metarl.rl.policies import distribution
from metarl.rl.recurrent import Memory


class AdaptedPolicy:
    """A policy for one task, with the `predict` that stable-baselines3's `evaluate_policy` calls.

    Args:
        policy: The network.
        adapted: Its params for this task, `[1, ...]`; or what it remembers of the task, which stays
            as it is: a recurrent policy acts from what it has adapted by, not from the running episode.
        shape: Shape of one observation.
        seed: Seed of the sampled actions.
    """

    def __init__(self, policy: Any, adapted: Params | Memory, shape: tuple[int, ...], seed: int = 0) -> None:
        self.policy, self.shape = policy, shape
        self.memory = adapted if isinstance(adapted, Memory) else None
        self.params = adapted.params if isinstance(adapted, Memory) else {n: v[0] for n, v in adapted.items()}
        self.rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], None]:
        """Return the environment's action for an observation, or one for each of `[n, ...]`, and None."""
        observation = np.asarray(observation, dtype=np.float32)
        single = observation.shape == self.shape
        obs = torch.from_numpy(observation.reshape(1 if single else len(observation), -1))[None]
        with torch.no_grad():
            if self.memory is None:
                actions = distribution(self.policy, self.params, obs)
            else:
                actions = self.memory.copies(obs.shape[1]).act(obs)
            noise = torch.from_numpy(self.policy.noise(self.rng, obs.shape[:2]))
            chosen = self.policy.env_action((actions.mode() if deterministic else actions.sample(noise))[0])
        return (chosen[0] if single else chosen), None
