"""Tasks without motion: Bernoulli bandits and tabular Markov decision processes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from metarl_envs.array_envs import ArrayFamily, make_envs
from metarl_envs.counter_rng import Streams
from metarl_envs.family import Array
from metarl_envs.rendering import BLUE, GREEN, GREY, RED, Frame, Plane

ROUNDING = 1e-6
"""How far the probabilities of a task may be from summing to one."""


class Bandit(ArrayFamily):
    """Pull one of k arms; reward 1 with the arm's probability, else 0.

    Probabilities are uniform in [0, 1]; the papers have 5, 10 or 50 arms. A state is the last reward;
    the observation is the constant 1. An episode is one pull; `max_episode_steps` makes it more.

    Source: Duan et al. 2016 (RL²), tristandeleu/pytorch-maml-rl `bandit.py`.

    Differs: the last pull truncates the episode, where the source terminates it.

    Args:
        arms: Number of arms k.
    """

    def __init__(self, arms: int = 5) -> None:
        if arms < 2:
            raise ValueError(f"Bandit: arms must be at least 2, got {arms}")
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float64)
        self.action_space = spaces.Discrete(arms)
        self.task_space = spaces.Box(0.0, 1.0, (arms,), np.float64)

    def start(self, rng: Streams) -> Array:
        """Start without a reward."""
        return np.zeros((len(rng), 1))

    def move(self, state: Array, action: Any, task: Array, rng: Streams) -> Array:
        """Pull the arms."""
        chance = task[np.arange(len(task)), action]
        return (rng.uniform(1) < chance[:, None]).astype(np.float64)

    def observe(self, state: Array) -> Array:
        """Return ones, `[N, 1]`."""
        return np.ones_like(state)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the reward of the pull."""
        return {"reward_pull": next_state[:, 0].copy()}

    def draw(self, state: Array, task: Array, size: int) -> Frame:
        """Show a bar for each arm's probability, the best in red, and a green disc after a reward."""
        plane = Plane(1.0, size)
        width = 1.8 / len(task)
        for i, chance in enumerate(task):
            left = -0.9 + i * width
            colour = RED if chance == task.max() else BLUE
            plane.box((left + 0.1 * width, -0.9), (left + 0.9 * width, -0.9 + 1.5 * chance), colour)
        plane.disc(0.8, 0.85, 0.08, GREEN if state[0] else GREY)
        return plane.frame


class Tables(spaces.Box):
    """Transition probabilities `[S, A, S]` and mean rewards `[S, A]`, flattened side by side."""

    def __init__(self, states: int, actions: int, seed: int | np.random.Generator | None = None) -> None:
        self.states, self.actions = states, actions
        chances, means = states * actions * states, states * actions
        low = np.repeat([0.0, -np.inf], [chances, means])
        high = np.repeat([1.0, np.inf], [chances, means])
        super().__init__(low, high, low.shape, np.float64, seed)

    def contains(self, x: object) -> bool:
        """Return whether x has the shape and its probabilities sum to one."""
        if not super().contains(x):
            return False
        chances = np.asarray(x)[: self.states * self.actions * self.states].reshape(-1, self.states)
        return bool(np.all(np.abs(chances.sum(axis=1) - 1.0) < ROUNDING))

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draw probabilities from Dirichlet(1) and means from N(1, 1)."""
        return self.draw(1, self.np_random)[0]

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n tasks, `[n, S·A·S + S·A]`."""
        chances = rng.dirichlet(np.ones(self.states), size=(n, self.states, self.actions))
        means = rng.normal(1.0, 1.0, size=(n, self.states * self.actions))
        return np.concatenate([chances.reshape(n, -1), means], axis=1)

    def __repr__(self) -> str:
        """Show the set, which Box's bounds would hide."""
        return f"Tables({self.states} states, {self.actions} actions: probabilities that sum to 1, mean rewards)"


class TabularMDP(ArrayFamily):
    """Walk through a random finite Markov decision process; reward N(mean of state and action, 1).

    Probabilities come from Dirichlet(1), mean rewards from N(1, 1). Episodes start in state 0; the
    observation is the state, one-hot.

    Source: Duan et al. 2016 (RL²), tristandeleu/pytorch-maml-rl `mdp.py`.

    Differs: the source observes the state's number instead of a one-hot vector.

    Args:
        states: Number of states S.
        actions: Number of actions A.
    """

    def __init__(self, states: int = 10, actions: int = 5) -> None:
        if states < 2 or actions < 2:
            raise ValueError(f"TabularMDP: needs at least 2 states and 2 actions, got {states} and {actions}")
        self.states, self.actions = states, actions
        self.observation_space = spaces.Box(0.0, 1.0, (states,), np.float64)
        self.action_space = spaces.Discrete(actions)
        self.task_space = Tables(states, actions)

    def start(self, rng: Streams) -> Array:
        """Start in state 0; the second number is the last reward."""
        return np.zeros((len(rng), 2))

    def move(self, state: Array, action: Any, task: Array, rng: Streams) -> Array:
        """Draw the next states and the rewards."""
        rows, pairs = np.arange(len(state)), self.states * self.actions
        pair = state[:, 0].astype(np.int64) * self.actions + np.asarray(action, np.int64)
        chances = task[:, : pairs * self.states].reshape(-1, pairs, self.states)
        # the last probability is left out: rounding could put their sum below the draw
        following = (np.cumsum(chances[rows, pair, :-1], axis=1) <= rng.uniform(1)).sum(axis=1)
        mean = task[rows, pairs * self.states + pair]
        return np.stack([following, mean + rng.normal(1)[:, 0]], axis=1)

    def observe(self, state: Array) -> Array:
        """Return the states, one-hot, `[N, S]`."""
        return (state[:, :1] == np.arange(self.states)).astype(np.float64)

    def reward_terms(self, state: Array, action: Array, next_state: Array, task: Array) -> dict[str, Array]:
        """Return the reward drawn by `move`."""
        return {"reward_step": next_state[:, 1].copy()}

    def draw(self, state: Array, task: Array, size: int) -> Frame:
        """Show the mean rewards, a row for each state and a column for each action, and a disc at the state."""
        plane = Plane(1.0, size)
        means = task[self.states * self.actions * self.states :].reshape(self.states, self.actions)
        shade = (means - means.min()) / max(float(np.ptp(means)), 1e-12)
        height, width = 1.8 / self.states, 1.5 / self.actions
        for i in range(self.states):
            top = 0.9 - i * height
            for j in range(self.actions):
                left = -0.6 + j * width
                dark = 240 - round(200 * shade[i, j])
                plane.box((left, top - 0.95 * height), (left + 0.95 * width, top), (dark, dark, 245))
            if i == int(state[0]):
                plane.disc(-0.8, top - 0.5 * height, 0.4 * height, RED)
        return plane.frame


BanditEnv, BanditVectorEnv = make_envs(Bandit)
TabularMDPEnv, TabularMDPVectorEnv = make_envs(TabularMDP)
