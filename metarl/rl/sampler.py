"""K tasks x E episodes in lock-step: one batched forward pass and one vector step a time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.params import Params
from metarl.rl.episodes import Episodes
from metarl.rl.policies import Distribution, distribution
from metarl.threads import one_thread


class Memory(Protocol):
    """A policy that remembers, in every row of the environment."""

    def act(self, obs: torch.Tensor) -> Distribution:
        """Return the action distributions for observations `[K, E, o]`."""
        ...

    def see(self, act: torch.Tensor, rew: torch.Tensor, alive: torch.Tensor) -> None:
        """Remember actions `[K, E, ...]` and their rewards in the rows that are alive, `[K E]`."""
        ...


@dataclass(frozen=True)
class Sampler:
    """Plays episodes of several tasks in a vector environment with `tasks * episodes` rows, task by task."""

    env: Any
    """A `VectorEnv` with `set_tasks`, as `make_vec` returns it."""
    policy: Any
    """A policy, which draws its noise and turns its actions into the environment's."""
    tasks: int
    """Number of tasks K."""
    episodes: int
    """Episodes E in each task."""
    horizon: int
    """Longest episode T, in steps."""
    first: int = 0
    """Index of the first task, where these are a share of all, for messages."""

    def sample(
        self,
        params: Params,
        tasks: NDArray[np.float64],
        seeds: list[np.random.SeedSequence],
        memory: Memory | None = None,
    ) -> Episodes:
        """Play one batch of episodes.

        All randomness of task k, environment and policy, comes from `seeds[k]`, so a task's episodes
        do not depend on which other tasks are played beside it.

        Args:
            params: Policy params stacked over tasks, `[K, ...]`.
            tasks: The tasks, `[K, d]`.
            seeds: One seed sequence a task.
            memory: What acts instead of the params, and sees what comes of it.

        Returns:
            Episodes `[K, E, T, ...]`, advantages still zero.

        Raises:
            FloatingPointError: If an observation, action or reward is not finite; names task and step.
        """
        with torch.no_grad(), one_thread():
            return self._sample(params, tasks, seeds, memory)

    def _sample(
        self,
        params: Params,
        tasks: NDArray[np.float64],
        seeds: list[np.random.SeedSequence],
        memory: Memory | None,
    ) -> Episodes:
        k, e, t_max, env = self.tasks, self.episodes, self.horizon, self.env
        noise, env_seeds = self._draw(seeds)
        params = {name: value.contiguous() for name, value in params.items()}
        env.set_tasks(np.repeat(tasks, e, axis=0))
        observation, _ = env.reset(seed=env_seeds)
        obs = torch.zeros(t_max, k, e, int(np.prod(env.single_observation_space.shape)))
        act: list[torch.Tensor] = []
        logp: list[torch.Tensor] = []
        rew = np.zeros((t_max, k * e))
        alive = np.ones(k * e, np.bool_)
        mask = np.zeros((t_max, k * e), np.bool_)
        unstable = 0
        t = 0
        while t < t_max and alive.any():
            obs[t].view(k * e, -1).copy_(torch.from_numpy(np.asarray(observation).reshape(k * e, -1)))
            actions = distribution(self.policy, params, obs[t]) if memory is None else memory.act(obs[t])
            action = actions.sample(noise[t])
            act.append(action)
            logp.append(actions.log_prob(action))
            self._check(logp[-1], obs[t], tasks, t)
            observation, reward, terminated, truncated, infos = env.step(self.policy.env_action(action))
            rew[t] = reward
            mask[t] = alive
            if "unstable" in infos:
                unstable += int((infos["unstable"] & alive).sum())
            if memory is not None:
                memory.see(action, torch.from_numpy(rew[t]).float(), torch.from_numpy(mask[t]))
            alive &= ~(terminated | truncated)
            t += 1
        self._check_rewards(rew, mask, tasks)
        return Episodes(
            obs=_by_task(obs[:t] * _column(mask[:t], k, e)[..., None]),
            act=_by_task(torch.stack(act) * _like(mask[:t], k, e, act[0])),
            rew=_by_task(torch.from_numpy(rew[:t] * mask[:t]).view(t, k, e).float()),
            mask=_by_task(_column(mask[:t], k, e)),
            logp=_by_task(torch.stack(logp) * _column(mask[:t], k, e)),
            adv=torch.zeros(k, e, t),
            unstable=unstable,
        )

    def _draw(self, seeds: list[np.random.SeedSequence]) -> tuple[torch.Tensor, list[int]]:
        """Draw the policy's noise of a whole phase `[T, K, E, ...]` and a seed for each row of the environment."""
        noise, env_seeds = [], []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            env_seeds += rng.integers(2**31, size=self.episodes).tolist()
            noise.append(self.policy.noise(rng, (self.horizon, self.episodes)))
        return torch.from_numpy(np.stack(noise, axis=1)), env_seeds

    def _check(self, logp: torch.Tensor, obs: torch.Tensor, tasks: NDArray[np.float64], t: int) -> None:
        """Stop before the physics sees an action that is not finite, which its log-probability `[K, E]` shows."""
        bad = ~torch.isfinite(logp)
        if not bad.any():
            return
        blind = ~torch.isfinite(obs).all(-1)
        what = "observation" if blind.any() else "action"
        k = int((blind if blind.any() else bad).nonzero()[0, 0])
        raise FloatingPointError(f"{what} is not finite in task {self.first + k} ({tasks[k].tolist()}) at step {t}")

    def _check_rewards(self, rew: NDArray[np.float64], mask: NDArray[np.bool_], tasks: NDArray[np.float64]) -> None:
        bad = np.argwhere(~np.isfinite(rew) & mask)
        if len(bad):
            t, k = int(bad[0, 0]), int(bad[0, 1]) // self.episodes
            raise FloatingPointError(f"reward is not finite in task {self.first + k} ({tasks[k].tolist()}) at step {t}")


def _column(mask: NDArray[np.bool_], k: int, e: int) -> torch.Tensor:
    """Return the mask as floats, `[T, K, E]`."""
    return torch.from_numpy(mask).view(-1, k, e).float()


def _like(mask: NDArray[np.bool_], k: int, e: int, act: torch.Tensor) -> torch.Tensor:
    """Return the mask in a shape and dtype that multiply actions of one step."""
    column = torch.from_numpy(mask).view(-1, k, e).to(act.dtype)
    return column[..., None] if act.dim() == 3 else column


def _by_task(x: torch.Tensor) -> torch.Tensor:
    """Turn `[T, K, E, ...]` into `[K, E, T, ...]`."""
    return x.movedim(0, 2).contiguous()
