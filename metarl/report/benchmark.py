"""Methods and baselines under one budget: train all, evaluate all on the same held-out tasks, compare."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from metarl.core import params as P
from metarl.errors import UserError, did_you_mean
from metarl.evaluation import AdaptationCurve, evaluate
from metarl.experiment.checkpoint import write_atomically
from metarl.experiment.config import Config
from metarl.experiment.methods import with_method
from metarl.experiment.players import make_player
from metarl.experiment.run import RunDirectory, resume, train
from metarl.experiment.training import Trainer
from metarl.learners import LEARNERS
from metarl.report.baselines import as_params, oracle_curve, train_baseline
from metarl.report.plot import LINES

BASELINES = ("random", "pretrained", "oracle")
"""What is compared besides the methods: an untrained policy, and two that PPO trains."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How runs are compared."""

    budget: int
    """Environment steps each run may train."""
    steps: int = 3
    """Gradient steps of the evaluation."""
    tasks: int = 40
    """Held-out tasks, the same for all."""
    episodes: int = 20
    """Episodes a task and step."""
    eval_seed: int = 12345
    """Chooses the held-out tasks and their episodes."""


def benchmark(
    config: Config,
    methods: Sequence[str],
    seeds: int,
    protocol: Protocol,
    out: Path,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Train and evaluate every method with every seed; what is in `out` already is not done again.

    Writes `METHOD-seedS/` (a run directory, and `result.json` when done), `results.json`, `results.csv`
    and `curves.png`.

    Args:
        config: The preset.
        methods: Names of methods and baselines.
        seeds: Number of seeds, 0 to seeds - 1.
        protocol: How runs are compared.
        out: Where to write.
        say: Tells the user of each run.

    Raises:
        UserError: If a method is unknown, or `out` holds results of another protocol.
    """
    known = [*LEARNERS, *BASELINES]
    for method in methods:
        if method not in known:
            raise UserError(f"unknown method {method!r}{did_you_mean(method, known)}; there are {', '.join(known)}")
    results: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for seed in range(seeds):  # seed by seed, so that an interrupted benchmark has something of every method
        for method in methods:
            run, made_with = out / f"{method}-seed{seed}", dataclasses.replace(config, seed=seed)
            found = _finished(run / "result.json", protocol, made_with)
            if found is None:
                say(f"{method}, seed {seed}: {protocol.budget:,} environment steps")
                found = _run(made_with, method, protocol, run)
                write_atomically(run / "result.json", json.dumps(found).encode())
            results[method].append(found)
    summary: dict[str, Any] = {"env": config.env, "protocol": dataclasses.asdict(protocol), "seeds": seeds}
    summary["methods"] = summarise(results)
    write_atomically(out / "results.json", json.dumps(summary, indent=2).encode())
    _write_csv(summary, out / "results.csv")
    draw(summary).savefig(out / "curves.png", dpi=150)
    return summary


def summarise(results: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return for each method the interquartile means over seeds and tasks with their 95 % intervals."""
    summary = {}
    for method, runs in results.items():
        scores = np.array([run["per_task"] for run in runs])  # [seeds, tasks, steps + 1]
        low, high = stratified_bootstrap(scores)
        centre = interquartile_mean(scores)
        summary[method] = {
            "iqm": centre.tolist(),
            "ci_low": low.tolist(),
            "ci_high": high.tolist(),
            "mean": scores.mean((0, 1)).tolist(),
            "gain_step1": float(centre[min(1, len(centre) - 1)] - centre[0]),
            "env_steps": float(np.mean([run["train_steps"] for run in runs])),
            "seconds": float(np.mean([run["seconds"] for run in runs])),
        }
    if {"random", "oracle"} <= summary.keys():
        worst, best = summary["random"]["iqm"][0], summary["oracle"]["iqm"][0]
        for row in summary.values():  # Finn et al. 2017 compare in this way across simulators
            row["gap_closed"] = [(value - worst) / (best - worst) for value in row["iqm"]]
    return summary


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the middle half of all seeds and tasks, `[..., S, K, k] -> [..., k]` (Agarwal et al. 2021)."""
    joined = scores.reshape(*scores.shape[:-3], -1, scores.shape[-1])
    return np.asarray(stats.trim_mean(joined, 0.25, axis=-2))


def stratified_bootstrap(
    scores: NDArray[np.float64], resamples: int = 2000, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % interval of the interquartile mean of scores `[S, K, k]`, `[k]` each.

    With several seeds, each task's seeds are drawn anew (Agarwal et al. 2021, section 4.1); with
    one, the tasks are.
    """
    s, k, _ = scores.shape
    rng = np.random.default_rng(seed)
    if s > 1:
        drawn = scores[rng.integers(s, size=(resamples, s, k)), np.arange(k)]
    else:
        drawn = scores[0][rng.integers(k, size=(resamples, 1, k))]
    low, high = np.percentile(interquartile_mean(drawn), [2.5, 97.5], axis=0)
    return low, high


def draw(summary: dict[str, Any]) -> Figure:
    """Draw the adaptation curves of all methods."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axis = figure.subplots()
    for (method, row), colour in zip(summary["methods"].items(), LINES * 3, strict=False):
        steps = range(len(row["iqm"]))
        style = ":" if method in BASELINES else "-"
        axis.plot(steps, row["iqm"], style, color=colour, marker="o", ms=3, label=method)
        axis.fill_between(steps, row["ci_low"], row["ci_high"], color=colour, alpha=0.12, lw=0)
    budget, seeds = summary["protocol"]["budget"], summary["seeds"]
    axis.set(xlabel="gradient steps", ylabel="return (interquartile mean)")
    axis.set(title=f"{summary['env']}, {budget / 1e6:g}M steps, {seeds} seeds")
    axis.set_xticks(range(summary["protocol"]["steps"] + 1))
    axis.legend(fontsize=8, frameon=False, bbox_to_anchor=(1, 1))
    return figure


def _run(config: Config, method: str, protocol: Protocol, run: Path) -> dict[str, Any]:
    """Train and evaluate one method with one seed."""
    started, train_steps = time.perf_counter(), 0
    where = {"steps": protocol.steps, "tasks": protocol.tasks, "episodes": protocol.episodes}
    if method == "oracle":
        model = train_baseline("oracle", config, protocol.budget)
        train_steps, seconds = model.num_timesteps, time.perf_counter() - started
        curve = oracle_curve(model, config, **where, seed=protocol.eval_seed)
    elif method in BASELINES:
        params = P.params_of(make_player(config, config.env, 1, 1).sampler.policy)
        if method == "pretrained":
            model = train_baseline("pretrained", config, protocol.budget)
            params, train_steps = as_params(model, params), model.num_timesteps
        seconds = time.perf_counter() - started
        curve = _curve(config, params, protocol)
    else:
        # judged once, at the end, by the protocol: evaluations along the way cost more steps than the training
        chosen = dataclasses.replace(
            with_method(config, method, None), eval_every=10**9, eval_tasks=config.tasks, eval_episodes=config.episodes
        )
        trainer, directory = Trainer(chosen), RunDirectory(run)
        if directory.holds_run and directory.checkpoints():
            resume(trainer, directory)
        elif not directory.holds_run:
            directory.create(chosen)
        train(trainer, 10**9, directory, budget=protocol.budget)
        train_steps, seconds = trainer.env_steps, trainer.seconds
        curve = _curve(chosen, trainer.params, protocol)
        trainer.close()
    return {
        **curve.as_dict(),
        "train_steps": train_steps,
        "seconds": seconds,
        "protocol": dataclasses.asdict(protocol),
        "config": config.as_dict(),
    }


def _curve(config: Config, params: P.Params, protocol: Protocol) -> AdaptationCurve:
    player = make_player(config, config.env, protocol.tasks, protocol.episodes)
    try:
        steps, seed = protocol.steps, protocol.eval_seed
        return evaluate(player, params, env=config.env, steps=steps, seed=seed, later_lr=config.later_lr)
    finally:
        player.close()


def _finished(file: Path, protocol: Protocol, config: Config) -> dict[str, Any] | None:
    """Return a result that is there already.

    Raises:
        UserError: If it was made under another protocol or is damaged.
    """
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text())
        before, made_with = found["protocol"], found["config"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{str(file)!r} is damaged ({error!r}); remove it to run it again") from error
    if before != dataclasses.asdict(protocol):
        raise UserError(f"{str(file)!r} was made under another protocol {before}; choose another --out")
    if made_with != json.loads(json.dumps(config.as_dict())):
        raise UserError(f"{str(file)!r} was made with other settings or another preset; choose another --out")
    return found


def _write_csv(summary: dict[str, Any], file: Path) -> None:
    rows = [
        {"method": method, "step": step, "iqm": value, "ci_low": row["ci_low"][step], "ci_high": row["ci_high"][step]}
        for method, row in summary["methods"].items()
        for step, value in enumerate(row["iqm"])
    ]
    lines = [",".join(map(str, row.values())) for row in rows]
    write_atomically(file, "\n".join([",".join(rows[0]), *lines, ""]).encode())
