"""A policy for one task, as scripts and stable-baselines3's tools use it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metarl.core.params import Params
from metarl.rl.policies import distribution
from metarl.rl.recurrent import Memory


class AdaptedPolicy:
    """A policy for one task, with the `predict` that stable-baselines3's `evaluate_policy` calls.

    Args:
        policy: The network.
        adapted: Its params for this task, `[1, ...]`; or what it remembers of the task. A recurrent policy
            acts from what it has adapted by, and from the running episode only if `see` tells it of that.
        shape: Shape of one observation.
        seed: Seed of the sampled actions.
    """

    def __init__(self, policy: Any, adapted: Params | Memory, shape: tuple[int, ...], seed: int = 0) -> None:
        self.policy, self.shape = policy, shape
        self.memory = adapted.copies(1) if isinstance(adapted, Memory) else None
        self._act: torch.Tensor | None = None
        self.params = adapted.params if isinstance(adapted, Memory) else {n: v[0] for n, v in adapted.items()}
        self.rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: ArrayLike,
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
                actions = (self.memory if single else self.memory.copies(obs.shape[1])).act(obs)
            noise = torch.from_numpy(self.policy.noise(self.rng, obs.shape[:2]))
            act = actions.mode() if deterministic else actions.sample(noise)
            chosen = self.policy.env_action(act[0])
        self._act = act if single else None
        return (chosen[0] if single else chosen), None

    def see(self, reward: float, done: bool = False) -> None:
        """Let a recurrent policy remember its last step, predicted for a single observation; others need not.

        Args:
            reward: The step's reward.
            done: Whether it was the episode's last.
        """
        if self.memory is None or self._act is None:
            return
        self.memory.see(self._act, torch.tensor([reward]), torch.ones(1, dtype=torch.bool))
        if done:
            self.memory.end_episode()
