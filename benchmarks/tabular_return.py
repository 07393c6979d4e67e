"""Return of RL² and of classical strategies in random Markov decision processes, as in Duan et al. 2016.

    python benchmarks/tabular_return.py --seconds 600

RL² trains for so many seconds. Then it and the strategies play the same held-out processes of `metarl/TabularMDP-v0`,
10 states and 5 actions, for as many episodes of 10 steps. The strategies plan at the beginning of each episode.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import metarl_envs  # noqa: F401 - registers the ids
import numpy as np
import tyro
from common import report
from numpy.typing import NDArray

import metarl
from metarl.seeding import TEST, task_rngs

Array = NDArray[Any]
ENV = "metarl/TabularMDP-v0"
STATES, ACTIONS, HORIZON = 10, 5, 10

Model = tuple[Array, Array]
"""Probabilities of the next state `[n, S, A, S]` and mean rewards `[n, S, A]`."""
Belief = Callable[[Array, Array, np.random.Generator], Model]
"""From visits `[n, S, A, S]` and sums of rewards `[n, S, A]` to the model that is planned with."""


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure returns."""

    episodes: int = 10
    """Episodes of a process."""
    problems: int = 1000
    """Held-out processes."""
    seconds: float = 600.0
    """Seconds that RL² trains for."""
    seed: int = 0
    """Seed of training and of processes."""
    out: Path = Path("benchmarks/results/tabular_return.json")
    """Where to write."""


def psrl(visits: Array, earned: Array, rng: np.random.Generator) -> Model:
    """Draw a process from the posterior under the true prior (Strens 2000, Osband et al. 2013)."""
    chances = rng.standard_gamma(1 + visits)
    mean, known = posterior(visits, earned)
    return chances / chances.sum(-1, keepdims=True), rng.normal(mean, known**-0.5)


def greedy(visits: Array, earned: Array, rng: np.random.Generator) -> Model:
    """Take the mean of the posterior for the truth."""
    chances = 1 + visits
    return chances / chances.sum(-1, keepdims=True), posterior(visits, earned)[0]


def posterior(visits: Array, earned: Array) -> tuple[Array, Array]:
    """Return mean and precision of the mean rewards: the prior is N(1, 1), rewards have variance 1."""
    known = 1 + visits.sum(-1)
    return (1 + earned) / known, known


def plan(model: Model) -> Array:
    """Return the best actions `[HORIZON, n, S]` of each step, by backward induction."""
    chances, means = model
    worth, best = np.zeros(means.shape[:2]), []
    for _ in range(HORIZON):
        values = means + np.einsum("nsat,nt->nsa", chances, worth)
        best.append(values.argmax(-1))
        worth = values.max(-1)
    return np.stack(best[::-1])


def play(belief: Belief | None, tasks: Array, episodes: int, seed: int) -> Array:
    """Return the undiscounted returns `[n, episodes]` of a strategy; without a belief, actions are drawn evenly."""
    n, rows, rng = len(tasks), np.arange(len(tasks)), np.random.default_rng([seed, 3])
    env = gymnasium.make_vec(ENV, n, vectorization_mode="vector_entry_point")
    env.unwrapped.set_tasks(tasks)
    visits, earned = np.zeros((n, STATES, ACTIONS, STATES)), np.zeros((n, STATES, ACTIONS))
    returns = np.zeros((n, episodes))
    for episode in range(episodes):
        obs, _ = env.reset(seed=[seed + episode * n + row for row in range(n)])
        actions = plan(belief(visits, earned, rng)) if belief else rng.integers(ACTIONS, size=(HORIZON, n, STATES))
        for chosen in actions:
            state = obs.argmax(1)
            action = chosen[rows, state]
            obs, reward, *_ = env.step(action)
            visits[rows, state, action, obs.argmax(1)] += 1
            earned[rows, state, action] += reward
            returns[:, episode] += reward
    env.close()
    return returns


def known(tasks: Array, episodes: int, seed: int) -> Array:
    """Return the returns `[n, episodes]` of who knows the processes."""
    pairs = STATES * ACTIONS
    chances = tasks[:, : pairs * STATES].reshape(-1, STATES, ACTIONS, STATES)
    means = tasks[:, pairs * STATES :].reshape(-1, STATES, ACTIONS)
    return play(lambda visits, earned, rng: (chances, means), tasks, episodes, seed)


def trained(args: Args) -> metarl.RL2:
    """Return RL² after so many seconds of training."""
    model = metarl.RL2(
        ENV,
        lifetime=args.episodes,
        tasks=40,
        episodes=2,
        hidden=(128, 64),
        ent_coef=0.01,
        discount=0.99,
        gae_lambda=0.9,
        seed=args.seed,
        lr_half_life=400,
    )
    started = time.perf_counter()
    while time.perf_counter() - started < args.seconds:
        model.learn(10)
        spent = time.perf_counter() - started
        print(f"{model.trainer.progress.iteration} iterations, {spent:.0f} s", file=sys.stderr, flush=True)
    return model


def played_by(model: metarl.RL2, tasks: Array, episodes: int, seed: int) -> Array:
    """Return the returns `[n, episodes]` of RL²; actions are drawn, as in training."""
    loop = model.trainer.build_inner_loop(held_out=True, tasks=len(tasks), episodes=1)
    played = loop.play(model.trainer.params, tasks, task_rngs(seed, TEST, 0, range(len(tasks))))
    returns = [next(played)[1].returns[:, 0].double().numpy() for _ in range(episodes)]
    loop.close()
    return np.stack(returns, axis=1)


def main() -> None:
    """Train, play and report."""
    args = tyro.cli(Args)
    env = gymnasium.make(ENV)
    tasks = env.unwrapped.sample_tasks(args.problems, np.random.default_rng([args.seed, 1]))
    beliefs = {"random": None, "PSRL": psrl, "greedy": greedy}
    returns = {name: play(belief, tasks, args.episodes, args.seed) for name, belief in beliefs.items()}
    returns["known"] = known(tasks, args.episodes, args.seed)
    for name, each in returns.items():
        print(f"{name}: {each.sum(1).mean():.1f}", file=sys.stderr, flush=True)
    before = time.process_time()
    model = trained(args)
    processor = time.process_time() - before
    returns["RL²"] = played_by(model, tasks, args.episodes, args.seed)
    rows = [
        {
            "strategy": name,
            "return": each.sum(1).mean(),
            "standard_error": each.sum(1).std() / len(each) ** 0.5,
            "first_episode": each[:, 0].mean(),
            "last_episode": each[:, -1].mean(),
        }
        for name, each in returns.items()
    ]
    done = model.trainer.progress
    more = {"iterations": done.iteration, "training_steps": done.env_steps, "training_processor_seconds": processor}
    command = shlex.join(["python", "benchmarks/tabular_return.py", *sys.argv[1:]])
    settings = {name: str(value) for name, value in dataclasses.asdict(args).items()}
    report("Random MDPs", rows, args.out, command=command, **settings, **more, load_average_after=os.getloadavg())


if __name__ == "__main__":
    main()
