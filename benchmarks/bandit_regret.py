"""Cumulative regret of RL² and of classical strategies on Bernoulli bandits, as in Duan et al. 2016.

    python benchmarks/bandit_regret.py --seconds 600

RL² trains for so many seconds. Then it and the strategies pull the arms of the same held-out problems.
The regret of a pull is the best arm's probability minus that of the arm pulled.
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

import numpy as np
import tyro
from common import report
from matplotlib.figure import Figure
from numpy.typing import NDArray

import metarl
from metarl.seeding import TEST, task_rngs

Strategy = Callable[[NDArray[Any], NDArray[Any], int, np.random.Generator], NDArray[Any]]
"""From successes and pulls of each arm `[n, k]`, the pulls so far and random numbers to the arms to pull, `[n]`."""

LIFETIME = 2
"""Episodes that share the pulls of a problem: the environment's are the same in both."""


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure regret."""

    arms: int = 10
    """Arms of a problem."""
    pulls: int = 100
    """Pulls of a problem, an even number."""
    problems: int = 1000
    """Held-out problems."""
    seconds: float = 600.0
    """Seconds that RL² trains for."""
    seed: int = 0
    """Seed of training and of problems."""
    out: Path = Path("benchmarks/results/bandit_regret")
    """Where to write, without the ending."""


def thompson(won: NDArray[Any], pulled: NDArray[Any], t: int, rng: np.random.Generator) -> NDArray[Any]:
    """Pull the arm that is best in a draw from the posterior under a uniform prior (Thompson 1933)."""
    return rng.beta(1 + won, 1 + pulled - won).argmax(1)


def ucb1(won: NDArray[Any], pulled: NDArray[Any], t: int, rng: np.random.Generator) -> NDArray[Any]:
    """Pull each arm once, then the one of the highest mean + √(2 ln t / pulls) (Auer et al. 2002)."""
    bound = won / np.maximum(pulled, 1) + np.sqrt(2 * np.log(max(t, 1)) / np.maximum(pulled, 1))
    return np.where(pulled > 0, bound, np.inf).argmax(1)


def greedy(won: NDArray[Any], pulled: NDArray[Any], t: int, rng: np.random.Generator) -> NDArray[Any]:
    """Pull the arm of the highest posterior mean."""
    return ((1 + won) / (2 + pulled)).argmax(1)


def gittins(pulls: int, discount: float = 0.99, accuracy: int = 1000) -> Strategy:
    """Return the strategy of the highest Gittins index under a uniform prior, for so many pulls (Gittins 1979).

    An arm's index is the sure reward a pull at which nobody would pull it any more. The value of pulling an arm as
    long as it is worth it is computed backwards, for a lattice of sure rewards at once; beyond `pulls` + 200 pulls it
    is taken for known.
    """
    sure = np.linspace(0, 1, accuracy + 1)
    most = pulls + 200
    index = np.zeros((pulls, pulls))  # by successes and failures
    worth = np.maximum((1 + np.arange(most + 1.0)) / (most + 2), sure[:, None]).T / (1 - discount)  # by successes
    for total in reversed(range(most)):
        chance = ((1 + np.arange(total + 1.0)) / (total + 2))[:, None]
        going_on = chance * (1 + discount * worth[1:]) + (1 - chance) * discount * worth[:-1]
        if total < pulls:
            successes = np.arange(total + 1)
            index[successes, total - successes] = (going_on > sure / (1 - discount)).sum(1) / accuracy
        worth = np.maximum(going_on, sure / (1 - discount))

    def strategy(won: NDArray[Any], pulled: NDArray[Any], t: int, rng: np.random.Generator) -> NDArray[Any]:
        best = index[won.astype(int), (pulled - won).astype(int)]
        return (best + 1e-6 * rng.random(best.shape)).argmax(1)  # ties are broken by chance

    return strategy


def uniform(won: NDArray[Any], pulled: NDArray[Any], t: int, rng: np.random.Generator) -> NDArray[Any]:
    """Pull any arm."""
    return rng.integers(won.shape[1], size=len(won))


def regret(chances: NDArray[Any], arms: NDArray[Any]) -> NDArray[Any]:
    """Return the cumulative regret `[n, T]` of arms pulled `[n, T]` in problems `[n, k]`."""
    missed = chances.max(1, keepdims=True) - np.take_along_axis(chances, arms, axis=1)
    return missed.cumsum(1)


def play(strategy: Strategy, chances: NDArray[Any], pulls: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return the arms that a strategy pulls in each problem, `[n, T]`."""
    won, pulled, rows = np.zeros_like(chances), np.zeros_like(chances), np.arange(len(chances))
    arms = np.empty((len(chances), pulls), dtype=int)
    for t in range(pulls):
        arms[:, t] = arm = strategy(won, pulled, t, rng)
        won[rows, arm] += rng.random(len(chances)) < chances[rows, arm]
        pulled[rows, arm] += 1
    return arms


def trained(args: Args) -> metarl.RL2:
    """Return RL² after so many seconds of training."""
    model = metarl.RL2(
        "metarl/Bandit-v0",
        env_options={"arms": args.arms},
        horizon=args.pulls // LIFETIME,
        lifetime=LIFETIME,
        tasks=100,
        episodes=2,
        hidden=(64, 32),
        ent_coef=0.003,
        discount=0.99,
        gae_lambda=0.9,
        seed=args.seed,
    )
    started = time.perf_counter()
    while time.perf_counter() - started < args.seconds:
        model.learn(2)
        seconds = time.perf_counter() - started
        print(f"{model.trainer.progress.iteration} iterations, {seconds:.0f} s", file=sys.stderr, flush=True)
    return model


def pulled_by(model: metarl.RL2, chances: NDArray[Any], seed: int) -> NDArray[Any]:
    """Return the arms that RL² pulls in each problem, `[n, T]`; actions are drawn, as in training."""
    loop = model.trainer.build_inner_loop(held_out=True, tasks=len(chances), episodes=1)
    rngs = task_rngs(seed, TEST, 0, range(len(chances)))
    played = loop.play(model.trainer.params, chances, rngs)
    arms = [next(played)[1].act[:, 0].numpy() for _ in range(LIFETIME)]
    loop.close()
    return np.concatenate(arms, axis=1)


def draw(curves: dict[str, NDArray[Any]], file: Path, title: str) -> None:
    """Draw mean cumulative regret against pulls, with bands of two standard errors."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        mean, error = curve.mean(0), 2 * curve.std(0) / len(curve) ** 0.5
        steps = np.arange(1, curve.shape[1] + 1)
        axes.plot(steps, mean, label=name)
        axes.fill_between(steps, mean - error, mean + error, alpha=0.2)
    axes.set(xlabel="pulls", ylabel="cumulative regret", title=title)
    axes.legend()
    figure.savefig(file, dpi=120)


def main() -> None:
    """Train, play, draw and report."""
    args = tyro.cli(Args)
    load = os.getloadavg()
    chances = np.random.default_rng([args.seed, 1]).uniform(size=(args.problems, args.arms))
    named = {"uniform": uniform, "greedy": greedy, "UCB1": ucb1, "Thompson sampling": thompson}
    named["Gittins index"] = gittins(args.pulls)
    strategies = {
        name: play(strategy, chances, args.pulls, np.random.default_rng([args.seed, 2]))
        for name, strategy in named.items()
    }
    for name, arms in strategies.items():
        print(f"{name}: {regret(chances, arms)[:, -1].mean():.2f}", file=sys.stderr, flush=True)
    before = time.process_time()
    model = trained(args)
    processor = time.process_time() - before
    strategies["RL²"] = pulled_by(model, chances, args.seed)
    curves = {name: regret(chances, arms) for name, arms in strategies.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(curves, args.out.with_suffix(".png"), f"{args.arms} arms, {args.problems:,} problems")
    rows = [
        {
            "strategy": name,
            "regret": curve[:, -1].mean(),
            "standard_error": curve[:, -1].std() / len(curve) ** 0.5,
            "expected_reward": args.pulls * chances.max(1).mean() - curve[:, -1].mean(),
        }
        for name, curve in curves.items()
    ]
    done = model.trainer.progress
    more = {"iterations": done.iteration, "training_pulls": done.env_steps, "training_processor_seconds": processor}
    command = shlex.join(["python", "benchmarks/bandit_regret.py", *sys.argv[1:]])
    loads = {"load_average_before": load, "load_average_after": os.getloadavg()}
    settings = {name: str(value) for name, value in dataclasses.asdict(args).items()}
    report("Bernoulli bandits", rows, args.out.with_suffix(".json"), command=command, **settings, **more, **loads)


if __name__ == "__main__":
    main()
