"""K tasks x E episodes in lock-step: one batched forward pass and one vector step a time step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.params import Params
from metarl.errors import Fault, UserError
from metarl.rl.distributions import Distribution
from metarl.rl.episodes import Episodes, span_of
from metarl.rl.policies import distribution
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

    def sample(
        self,
        params: Params,
        tasks: NDArray[np.float64],
        rngs: Iterable[np.random.Generator],
        memory: Memory | None = None,
    ) -> Episodes:
        """Play one batch of episodes.

        All randomness of task k, environment and policy, comes from its generator, so a task's episodes
        do not depend on which other tasks are played beside it.

        Args:
            params: Policy params stacked over tasks, `[K, ...]`.
            tasks: The tasks, `[K, d]`.
            rngs: A generator for each task, used in turn.
            memory: What acts instead of the params, and sees what comes of it.

        Returns:
            Episodes `[K, E, T, ...]`, advantages still zero. A task in which an observation, action, reward
            or param is not finite ends there and is named in their `faults`; its neighbours play on.
        """
        with torch.no_grad(), one_thread():
            return self._sample(params, tasks, rngs, memory)

    def _sample(
        self,
        params: Params,
        tasks: NDArray[np.float64],
        rngs: Iterable[np.random.Generator],
        memory: Memory | None,
    ) -> Episodes:
        k, e, t_max, env = self.tasks, self.episodes, self.horizon, self.env
        noise, seeds = self._draw(rngs)
        env.set_tasks(np.repeat(tasks, e, axis=0))
        observation, _ = env.reset(seed=seeds)
        obs = torch.zeros(t_max, k, e, int(np.prod(env.single_observation_space.shape)))
        act: list[torch.Tensor] = []
        logp: list[torch.Tensor] = []
        rew = np.zeros((t_max, k * e))
        alive = np.ones(k * e, np.bool_)
        mask = np.zeros((t_max, k * e), np.bool_)
        faults = _Faults(tasks, alive)
        if memory is None:
            faults.find("adapted param", ~_finite_params(params).repeat(e))
        unstable, cut = 0, {}
        solved: NDArray[np.bool_] | None = None
        t = 0
        while t < t_max and (alive.any() or not t):  # one step at least, even where every task's params are bad
            obs[t].view(k * e, -1).copy_(torch.from_numpy(np.asarray(observation).reshape(k * e, -1)))
            actions = distribution(self.policy, params, obs[t]) if memory is None else memory.act(obs[t])
            action = actions.sample(noise[t])
            logp.append(actions.log_prob(action))
            # an action that is not finite shows in its log-probability, and never reaches the physics
            sound, seen = _finite(logp[-1]), _finite(obs[t])
            if not (sound.all() and seen.all()):
                faults.find("observation", ~seen.all(-1).flatten(), t)
                faults.find("action", ~sound.flatten(), t)
                action = torch.where(_like(sound, k, e, action)[0] != 0, action, torch.zeros_like(action))
            act.append(action)
            observation, reward, terminated, truncated, infos = env.step(self.policy.env_action(action))
            faults.find("reward", ~(np.abs(reward) <= LARGEST), t)
            rew[t] = reward
            mask[t] = alive
            if "unstable" in infos:
                unstable += int((_flags(infos, "unstable", k * e) & alive).sum())
            if "success" in infos:
                now = _flags(infos, "success", k * e) & alive
                solved = now if solved is None else solved | now
            if memory is not None:
                memory.see(action, torch.from_numpy(rew[t]).float(), torch.from_numpy(mask[t]))
            t += 1
            if t < t_max and truncated.any():
                cut |= _last_observations(observation, alive & truncated & ~terminated, e)
            alive &= ~(terminated | truncated)
        taken = torch.from_numpy(mask[:t]).view(t, k, e)
        # steps not taken are zero whatever stands there: not multiplied, for that leaves NaN
        played = Episodes(
            obs=_by_task(obs[:t].masked_fill(~taken[..., None], 0)),
            act=_by_task(torch.stack(act) * _like(mask[:t], k, e, act[0])),
            rew=_by_task(torch.from_numpy(np.where(mask[:t], rew[:t], 0)).view(t, k, e).float()),
            mask=_by_task(taken.float()),
            logp=_by_task(torch.stack(logp).masked_fill(~taken, 0)),
            adv=torch.zeros(k, e, t),
            success=None if solved is None else torch.from_numpy(solved).view(k, e).float(),
            unstable=unstable,
            cut=cut,
        )
        played = played.blank(faults.found)
        return played.at_length(min(span_of(t), t_max))

    def _draw(self, rngs: Iterable[np.random.Generator]) -> tuple[torch.Tensor, list[int]]:
        """Draw the policy's noise of a whole phase `[T, K, E, ...]` and a seed for each row of the environment."""
        noise, seeds = [], []
        for rng in rngs:
            seeds.append(rng.random(self.episodes))
            noise.append(self.policy.noise(rng, (self.horizon, self.episodes)))
        # 31 bits, as much as anybody's environment takes
        return torch.from_numpy(np.stack(noise, axis=1)), (np.concatenate(seeds) * 2**31).astype(np.int64).tolist()


LARGEST = float(np.finfo(np.float32).max)
"""Rewards beyond it are infinite in the precision of the networks."""


class _Faults:
    """What was not finite, by task; the rows of such a task are no longer alive.

    Args:
        tasks: The tasks, `[K, d]`.
        alive: Which rows of the environment play, `[K E]`; changed in place.
    """

    def __init__(self, tasks: NDArray[np.float64], alive: NDArray[np.bool_]) -> None:
        self.tasks, self.alive = tasks, alive.reshape(len(tasks), -1)
        self.found: dict[int, Fault] = {}

    def find(self, what: str, bad: NDArray[np.bool_], step: int | None = None) -> None:
        """Note the tasks in which a row that is alive is bad, `[K E]`."""
        if not bad.any():
            return
        at = "" if step is None else f" at step {step}"
        for k in np.flatnonzero((bad.reshape(self.alive.shape) & self.alive).any(1)).tolist():
            self.found[k] = Fault(what, f" ({self.tasks[k].tolist()}){at}")
            self.alive[k] = False


def _flags(infos: Any, name: str, rows: int) -> NDArray[np.bool_]:
    """Return an info that is true or false, or 1 or 0, in each row `[K E]`.

    Raises:
        UserError: If it is anything else.
    """
    found = infos[name]
    try:
        # Gymnasium has None in the rows that do not say
        values = np.asarray([False if value is None else value for value in found])
    except (TypeError, ValueError):  # no array, or a ragged one
        values = np.empty(0)
    if values.dtype.kind not in "biuf" or values.shape != (rows,) or not np.isin(values, (0, 1)).all():
        got = repr(found).replace("\n", "")
        got = got if len(got) <= 80 else f"{got[:77]}..."
        raise UserError(f"the environment's info {name!r} must be True or False in each of {rows} rows, got {got}")
    return values.astype(np.bool_)


def _last_observations(observation: Any, ended: NDArray[np.bool_], e: int) -> dict[tuple[int, int], torch.Tensor]:
    """Return the observations `[o]` of rows `[K E]` that end here, by task and episode, where they are finite."""
    rows = np.asarray(observation).reshape(len(ended), -1)
    found = {divmod(row, e): torch.from_numpy(rows[row].copy()).float() for row in np.flatnonzero(ended).tolist()}
    return {at: last for at, last in found.items() if torch.isfinite(last).all()}


def _finite_params(params: Params) -> NDArray[np.bool_]:
    """Return in which tasks all params `[K, ...]` are finite, `[K]`."""
    return np.logical_and.reduce([_finite(value).reshape(len(value), -1).all(1) for value in params.values()])


def _finite(x: torch.Tensor) -> NDArray[np.bool_]:
    """Return which numbers are finite; NumPy needs a tenth of torch's time to tell."""
    return np.isfinite(x.numpy())


def _like(mask: NDArray[np.bool_], k: int, e: int, act: torch.Tensor) -> torch.Tensor:
    """Return the mask in a shape and dtype that multiply actions of one step."""
    column = torch.from_numpy(mask).view(-1, k, e).to(act.dtype)
    return column[..., None] if act.dim() == 3 else column


def _by_task(x: torch.Tensor) -> torch.Tensor:
    """Turn `[T, K, E, ...]` into `[K, E, T, ...]`."""
    return x.movedim(0, 2).contiguous()
