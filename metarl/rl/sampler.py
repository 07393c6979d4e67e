"""K tasks x E episodes in lock-step: one batched forward pass and one vector step a time step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.core.distributions import Distribution, stacked
from metarl.core.params import Params
from metarl.errors import Fault, UserError
from metarl.rl.episodes import Episodes, span_of
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
            noise, seeds = self._draw(rngs)
            self.env.set_tasks(np.repeat(tasks, self.episodes, axis=0))
            observation, _ = self.env.reset(seed=seeds)
            record = _Record(self, tasks)
            if memory is None:
                record.faults.find("adapted param", ~_finite_params(params).repeat(self.episodes))
            act = self.policy.prepared(params) if memory is None else memory.act
            while record.goes_on:
                obs = record.see(observation)
                action = record.act(actions := act(obs), actions.sample(noise[record.t]))
                observation = record.outcome(*self.env.step(self.policy.env_action(action)))
                if memory is not None:
                    memory.see(action, *record.newest)
            return record.episodes()

    def _draw(self, rngs: Iterable[np.random.Generator]) -> tuple[torch.Tensor, list[int]]:
        """Draw the policy's noise of a whole phase `[T, K, E, ...]` and a seed for each row of the environment."""
        noise, seeds = [], []
        for rng in rngs:
            seeds.append(rng.random(self.episodes))
            noise.append(self.policy.noise(rng, (self.horizon, self.episodes)))
        # 31 bits, as much as anybody's environment takes
        return torch.from_numpy(np.stack(noise, axis=1)), (np.concatenate(seeds) * 2**31).astype(np.int64).tolist()


class _Record:
    """What happens in one batch of episodes, step by step.

    Args:
        sampler: Knows the sizes.
        tasks: The tasks, `[K, d]`.
    """

    def __init__(self, sampler: Sampler, tasks: NDArray[np.float64]) -> None:
        self.k, self.e, self.horizon = sampler.tasks, sampler.episodes, sampler.horizon
        rows = self.k * self.e
        self.t = 0
        self.obs = torch.zeros(self.horizon, rows, int(np.prod(sampler.env.single_observation_space.shape)))
        self.actions: list[Distribution] = []
        self.acts: list[torch.Tensor] = []
        self.rew = np.zeros((self.horizon, rows))
        self.mask = np.zeros((self.horizon, rows), np.bool_)
        self.alive = np.ones(rows, np.bool_)
        self.faults = _Faults(tasks, self.alive)
        self.solved: NDArray[np.bool_] | None = None
        self.unstable, self.cut = 0, {}

    @property
    def goes_on(self) -> bool:
        """Whether there is another step: one at least, even where every task's params are bad."""
        return self.t < self.horizon and (not self.t or bool(self.alive.any()))

    @property
    def newest(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The rewards of the newest step, and in which rows it was taken, `[K E]` each."""
        return torch.from_numpy(self.rew[self.t - 1]).to(self.obs.dtype), torch.from_numpy(self.mask[self.t - 1])

    def see(self, observation: Any) -> torch.Tensor:
        """Note the observations of all rows; returns them as `[K, E, o]`."""
        obs = self.obs[self.t].copy_(torch.from_numpy(np.asarray(observation).reshape(len(self.alive), -1)))
        seen = _finite(obs)
        if not seen.all():
            self.faults.find("observation", np.asarray(~seen.all(-1)), self.t)
        return obs.view(self.k, self.e, -1)

    def act(self, actions: Distribution, action: torch.Tensor) -> torch.Tensor:
        """Note the actions drawn; returns those to take, for what is not finite never reaches the physics."""
        # what is drawn from logits is a whole number, whatever they are
        drawn = _finite(action if action.is_floating_point() else actions.log_prob(action))
        sound = drawn.reshape(len(self.alive), -1).all(-1)
        if not sound.all():
            self.faults.find("action", np.asarray(~sound), self.t)
            kept = torch.from_numpy(sound).view(self.k, self.e, *[1] * (action.dim() - 2))
            action = torch.where(kept, action, torch.zeros_like(action))
        self.actions.append(actions)
        self.acts.append(action)
        return action

    def outcome(self, observation: Any, reward: Any, terminated: Any, truncated: Any, infos: Any) -> Any:
        """Note what a step has led to; returns the observations."""
        t, rows, alive = self.t, len(self.alive), self.alive
        self.faults.find("reward", ~(np.abs(reward) <= LARGEST), t)
        self.rew[t], self.mask[t] = reward, alive
        if "unstable" in infos:
            self.unstable += int((_flags(infos, "unstable", rows) & alive).sum())
        if "success" in infos:
            now = _flags(infos, "success", rows) & alive
            self.solved = now if self.solved is None else self.solved | now
        self.t += 1
        if self.t < self.horizon and truncated.any():
            self.cut |= _last_observations(observation, alive & truncated & ~terminated, self.e)
        alive &= ~(terminated | truncated)
        return observation

    def episodes(self) -> Episodes:
        """Return the episodes; steps not taken are zero."""
        t, k, e = self.t, self.k, self.e
        taken, dtype = torch.from_numpy(self.mask[:t]).view(t, k, e), self.obs.dtype
        act = torch.stack(self.acts)
        logp = stacked(self.actions).log_prob(act)
        self._find_improbable(logp, taken)
        # not multiplied, for that leaves NaN of what stands there
        blank = ~taken
        played = Episodes(
            obs=_by_task(self.obs[:t].view(t, k, e, -1).masked_fill(blank[..., None], 0)),
            act=_by_task(act.masked_fill(blank if act.dim() == 3 else blank[..., None], 0)),
            rew=_by_task(torch.from_numpy(np.where(self.mask[:t], self.rew[:t], 0)).view(t, k, e).to(dtype)),
            mask=_by_task(taken.to(dtype)),
            logp=_by_task(logp.masked_fill(blank, 0)),
            adv=torch.zeros(k, e, t),
            success=None if self.solved is None else torch.from_numpy(self.solved).view(k, e).to(dtype),
            unstable=self.unstable,
            cut=self.cut,
        )
        return played.blank(self.faults.found).at_length(min(span_of(t), self.horizon))

    def _find_improbable(self, logp: torch.Tensor, taken: torch.Tensor) -> None:
        """Note the tasks in which an action taken has no finite log-probability: that of a vanishing width, say."""
        bad = ~(torch.isfinite(logp) | ~taken).numpy()
        for t in np.flatnonzero(bad.any((1, 2))).tolist():
            self.alive[:] = [k not in self.faults.found for k in range(self.k) for _ in range(self.e)]
            self.faults.find("action", bad[t].reshape(-1), t)


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
    if values.dtype.kind not in "biuf" or values.shape != (rows,) or not ((values == 0) | (values == 1)).all():
        got = repr(found).replace("\n", "")
        got = got if len(got) <= 80 else f"{got[:77]}..."
        raise UserError(f"the environment's info {name!r} must be True or False in each of {rows} rows, got {got}")
    return values.astype(np.bool_)


def _last_observations(observation: Any, ended: NDArray[np.bool_], e: int) -> dict[tuple[int, int], torch.Tensor]:
    """Return the observations `[o]` of rows `[K E]` that end here, by task and episode, where they are finite."""
    rows = np.asarray(observation).reshape(len(ended), -1)
    dtype = torch.get_default_dtype()
    found = {divmod(row, e): torch.tensor(rows[row], dtype=dtype) for row in np.flatnonzero(ended).tolist()}
    return {at: last for at, last in found.items() if torch.isfinite(last).all()}


def _finite_params(params: Params) -> NDArray[np.bool_]:
    """Return in which tasks all params `[K, ...]` are finite, `[K]`."""
    return np.logical_and.reduce([_finite(value).reshape(len(value), -1).all(1) for value in params.values()])


def _finite(x: torch.Tensor) -> NDArray[np.bool_]:
    """Return which numbers are finite; NumPy needs a tenth of torch's time to tell."""
    return np.isfinite(x.numpy())


def _by_task(x: torch.Tensor) -> torch.Tensor:
    """Turn `[T, K, E, ...]` into `[K, E, T, ...]`."""
    return x.movedim(0, 2).contiguous()
