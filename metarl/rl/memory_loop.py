"""The inner loop of recurrent policies: lifetimes of several episodes instead of inner steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.params import Params
from metarl.errors import stop_at
from metarl.rl.advantages import value_beyond, with_advantages
from metarl.rl.episodes import Episodes
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.rl.lifetimes import LifetimeGradient, join
from metarl.rl.recurrent import Memory
from metarl.seeding import TaskRngs


@dataclass(frozen=True)
class MemoryInnerLoop(PolicyInnerLoop):
    """Plays lifetimes: one episode after another in the same task, with the memory kept."""

    losses: LifetimeGradient

    adapts_by: ClassVar[str] = "episodes seen"

    @property
    def episodes_per_step(self) -> int | None:
        """A lifetime's memory sees one after another."""
        return 1

    def play(
        self, params: Params, tasks: NDArray[np.float64], rngs: TaskRngs, stop: bool = True
    ) -> Iterator[tuple[Params, Episodes]]:
        """Yield the params with the first episodes of every lifetime, then the second ones, and so on."""
        yield from ((params, episodes) for episodes in self._play(self.start(params), tasks, rngs, stop))

    def adapted(self, params: Params, tasks: NDArray[np.float64], rngs: TaskRngs, steps: int) -> Memory:
        """Return the memory after this many episodes."""
        memory = self.start(params)
        for _ in islice(self._play(memory, tasks, rngs), steps):
            pass
        return memory

    def start(self, params: Params) -> Memory:
        """Return the empty memory of every lifetime."""
        own = {name: value.cpu() for name, value in self.losses.own(params).items()}
        return Memory(self.sampler.policy, own, self.sampler.tasks * self.sampler.episodes)

    def arrange(self, data: list[Episodes], params: Params, rngs: TaskRngs) -> tuple[list[Episodes], Episodes]:
        """Return no support data, and as query data the lifetimes with their advantages.

        The critic's values take the place of the baseline's, if there is one; both look at the whole rest of the
        lifetime, which ends with its last episode or, if the method bootstraps, is cut there.
        """
        longest = len(data) * self.sampler.horizon
        lifetimes, beyond = join(self.sampler.policy, data, longest), None
        if any(episodes.cut for episodes in data):  # joined as the advantages, which nobody has computed yet
            worth = [replace(e, adv=value_beyond(e, self.discount, self.baseline)) for e in data]
            beyond = join(self.sampler.policy, worth, longest).adv
        if self.losses.noise_size:
            lifetimes = replace(lifetimes, noise=self._noise(lifetimes, longest, rngs(len(data))))
        own = self.losses.own(params)
        lifetimes = self.losses.given(own, lifetimes)
        critic = None if self.sampler.policy.critic is None else lambda e, _: self.losses.worth(own, e)
        values, cut = critic or self.baseline, getattr(self.method, "bootstrap", False)
        lifetimes = with_advantages(lifetimes, self.discount, self.gae_lambda, values, beyond, cut)
        return [], lifetimes.to(self.device)

    def _noise(self, lifetimes: Episodes, longest: int, rngs: Iterable[np.random.Generator]) -> Tensor:
        """Draw each task's noise `[K, E, L, n]`, the same whatever the lengths of the others are."""
        shape = lifetimes.mask.shape[1], longest, self.losses.noise_size
        noise = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs])
        return torch.from_numpy(noise[:, :, : lifetimes.mask.shape[2]])

    def _play(
        self, memory: Memory, tasks: NDArray[np.float64], rngs: TaskRngs, stop: bool = True
    ) -> Iterator[Episodes]:
        for episode in count():
            with torch.no_grad():
                episodes = self.sampler.sample(memory.params, tasks, rngs(episode), memory)
                memory.end_episode()
            if stop:
                stop_at(episodes.faults)
            yield episodes
