"""Policies for one task or several, as scripts and stable-baselines3's tools use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from metarl.core.params import Params
from metarl.errors import UserError, warn
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
        about: What it has adapted to, in words.
    """

    def __init__(
        self,
        policy: Any,
        adapted: Params | Memory,
        shape: tuple[int, ...],
        seed: int | Sequence[int] = 0,
        about: str = "",
    ) -> None:
        self.policy, self.shape, self.about = policy, shape, about
        self.memory = adapted.of(torch.zeros(1, dtype=torch.int64)) if isinstance(adapted, Memory) else None
        self._act: torch.Tensor | None = None
        self._unseen = 0
        self.params = adapted.params if isinstance(adapted, Memory) else {n: v[0] for n, v in adapted.items()}
        self.rng = np.random.default_rng(seed)

    def __repr__(self) -> str:
        """Say what it has adapted to."""
        return f"<{type(self).__name__} {self.about}>"

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], None]:
        """Return the environment's action for an observation, or one for each of `[n, ...]`, and None.

        Raises:
            UserError: If it has another shape.
        """
        given, observation = observation, _numbers(observation)
        single = observation.shape == self.shape
        if not single and (observation.shape[1:] != self.shape or not len(observation)):
            raise UserError(
                f"predict takes observations of shape {list(self.shape)}, or several of them, got {given!r}"
            )
        obs = torch.from_numpy(observation.reshape(1 if single else len(observation), -1))[None]
        with torch.no_grad():
            if self.memory is None:
                actions = distribution(self.policy, self.params, obs)
            else:
                rows = obs.shape[1]
                actions = (self.memory if rows == 1 else self.memory.of(torch.zeros(rows, dtype=torch.int64))).act(obs)
            noise = torch.from_numpy(self.policy.noise(self.rng, obs.shape[:2]))
            act = actions.mode() if deterministic else actions.sample(noise)
            chosen = self.policy.env_action(act[0])
        self._act = act if obs.shape[1] == 1 else None
        self._unseen += 1
        if self.memory is not None and self._unseen == 2:
            warn(
                "this policy's memory is not told what its actions led to, and acts from what it remembers of before: "
                "call see(reward, done) after each step (evaluate_policy does not; metarl.adaptation_curve measures it)"
            )
        return (chosen[0] if single else chosen), None

    def see(self, reward: float, done: bool = False) -> None:
        """Let a recurrent policy remember its last step, predicted for a single observation; others need not.

        Args:
            reward: The step's reward.
            done: Whether it was the episode's last.
        """
        if self.memory is None or self._act is None:
            return
        self._unseen = 0
        self.memory.see(self._act, torch.tensor([float(reward)]), torch.ones(1, dtype=torch.bool))
        if done:
            self.memory.end_episode()


def _numbers(observation: ArrayLike) -> NDArray[np.float32]:
    """Return observations as numbers.

    Raises:
        UserError: If they are none, or not finite.
    """
    try:
        found = np.asarray(observation, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"predict takes observations, which are numbers, got {observation!r}") from error
    if not np.isfinite(found).all():
        raise UserError(f"predict takes finite observations, got {observation!r}")
    return found


class AdaptedPolicies(Sequence[AdaptedPolicy]):
    """The policies of several tasks, adapted together; `predict` acts in all of them at once.

    Args:
        policies: That of each task.
        adapted: Their params, `[K, ...]`; or the memory of a lifetime of each.
        seed: Seed of the sampled actions.
        about: What they have adapted to, in words.
    """

    def __init__(
        self, policies: Sequence[AdaptedPolicy], adapted: Params | Memory, seed: int = 0, about: str = ""
    ) -> None:
        self.policies, self.adapted, self.about = list(policies), adapted, about
        self.policy, self.shape = self.policies[0].policy, self.policies[0].shape
        self.rng = np.random.default_rng(seed)

    def __repr__(self) -> str:
        """Say what they have adapted to."""
        return f"<{type(self).__name__} {self.about}>"

    @overload
    def __getitem__(self, task: int) -> AdaptedPolicy: ...

    @overload
    def __getitem__(self, task: slice) -> Sequence[AdaptedPolicy]: ...

    def __getitem__(self, task: int | slice) -> AdaptedPolicy | Sequence[AdaptedPolicy]:
        """Return the policy of one task."""
        return self.policies[task]

    def __len__(self) -> int:
        """Return the number of tasks K."""
        return len(self.policies)

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], None]:
        """Return the environments' actions `[K E, ...]` for observations `[K E, ...]`, E rows a task, and None.

        A recurrent policy acts from what it has adapted by.

        Raises:
            UserError: If the rows cannot be shared among the tasks.
        """
        observation = _numbers(observation)
        rows, tasks = len(observation) if observation.ndim else 0, len(self)
        if observation.shape[1:] != self.shape or not rows or rows % tasks:
            wanted = f"as many observations of shape {list(self.shape)} in each of {tasks} tasks"
            raise UserError(f"predict takes {wanted}, got an array {list(observation.shape)}")
        obs = torch.from_numpy(observation.reshape(tasks, rows // tasks, -1))
        with torch.no_grad():
            if isinstance(self.adapted, Memory):
                actions = self.adapted.of(torch.arange(tasks).repeat_interleave(rows // tasks)).act(obs)
            else:
                actions = distribution(self.policy, self.adapted, obs)
            noise = torch.from_numpy(self.policy.noise(self.rng, obs.shape[:2]))
            act = actions.mode() if deterministic else actions.sample(noise)
            return self.policy.env_action(act.flatten(0, 1)), None
