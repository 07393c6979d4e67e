"""Methods and baselines under one budget: train all, evaluate all on the same held-out tasks, compare."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from metarl.core import params as P
from metarl.errors import UserError, did_you_mean, few, warn
from metarl.evaluation import Evaluation, evaluate
from metarl.experiment.build import build_inner_loop
from metarl.experiment.checkpoint import write_atomically, write_json
from metarl.experiment.config import Config
from metarl.experiment.config_file import as_dict, changes, differences, flat, from_dict
from metarl.experiment.parts import Parts
from metarl.experiment.run import RunDirectory, resume, train
from metarl.experiment.settings import say_brought, with_method
from metarl.experiment.trainer import NO_PARTS, Trainer
from metarl.methods import METHODS, Method, method_name
from metarl.report.baselines import Baseline, cached_baseline, learn_from_scratch, oracle_curve
from metarl.report.comparison import BASELINES, compare_scratch, draw, summarise, write_csv
from metarl.report.plot import Medium, as_file
from metarl.sb3.convert import as_params, is_perceptron
from metarl.seeding import TEST, draw_tasks

SCRATCH_TASKS = 2
"""Held-out tasks that PPO from scratch learns, each with a policy of its own."""

ENDINGS: dict[Medium, str] = {"screen": ".png", "paper": ".pdf"}
"""The format of the figure."""


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
    stream: int = TEST
    """The stream of random numbers that they come from; results of another one were judged by other tasks."""

    def evaluation(self, config: Config) -> Evaluation:
        """Return how a run under this configuration is judged."""
        return Evaluation(config.env, self.steps, self.eval_seed, self.stream)


def benchmark(
    config: Config,
    methods: Sequence[str],
    seeds: int,
    protocol: Protocol,
    out: Path,
    say: Callable[[str], object] = print,
    own: Mapping[str, Method] | None = None,
    parts: Parts = NO_PARTS,
    style: Medium = "screen",
    keep: Collection[str] = (),
) -> dict[str, Any]:
    """Train and evaluate every method with every seed; what is in `out` already is not done again.

    Writes `METHOD-seedS/` (a run directory, and `result.json` when done), `results.json`, `results.csv`
    and `curves.png`, or `curves.pdf` for a paper.

    Args:
        config: The preset.
        methods: Names of methods and baselines, and of those in `own`.
        seeds: Number of seeds, 0 to seeds - 1.
        protocol: How runs are compared.
        out: Where to write.
        say: Tells the user of each run.
        own: Methods of the user's, by the names that results and figures have of them.
        parts: Objects that the preset names.
        style: What the figure is for.
        keep: Settings of the preset that stay, whatever would suit a method.

    Raises:
        UserError: If a method is unknown, or `out` is a run directory or holds results of another protocol.
    """
    if RunDirectory(out).holds_run:
        raise UserError(f"{out} holds a run itself; choose another --out")
    own = {} if own is None else own
    config.check_heeded()
    _check_methods(config, methods, own, parts)
    results: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for seed in range(seeds):  # seed by seed, so that an interrupted benchmark has something of every method
        for method in methods:
            run, made_with = out / f"{method}-seed{seed}", dataclasses.replace(config, seed=seed)
            found = _finished(run / "result.json", protocol, made_with, own.get(method))
            if found is None:
                chosen = own.get(method, method)
                silent = seed or chosen in BASELINES  # every seed has the same settings
                changed = "" if silent else say_brought(config, with_method(config, chosen, keep=keep), ())
                say(f"{method}, seed {seed}: {protocol.budget:,} environment steps{changed and f' ({changed})'}")
                found = train_and_evaluate(made_with, chosen, protocol, run, parts, keep)
                write_json(run / "result.json", found)
            results[method].append(found)
    summary: dict[str, Any] = {"env": config.env, "protocol": dataclasses.asdict(protocol), "seeds": seeds}
    scratch = results.pop("scratch", [])
    summary["methods"] = summarise(results)
    if scratch:
        summary["scratch"] = compare_scratch(scratch, results)
    write_json(out / "results.json", summary)
    write_csv(summary, out / "results.csv")
    ending = ENDINGS[style]
    write_atomically(out / f"curves{ending}", as_file(draw(summary, style), ending))
    return summary


def _check_methods(config: Config, methods: Sequence[str], own: Mapping[str, Method], parts: Parts) -> None:
    """Refuse methods that are unknown or named twice, and baselines that cannot stand beside this policy.

    Raises:
        UserError: If there are some.
    """
    known = [*METHODS, *BASELINES, *own]
    for method in methods:
        if method not in known:
            raise UserError(f"unknown method {method!r}{did_you_mean(method, known)}; there are {', '.join(known)}")
    if len({*methods}) < len(methods):
        raise UserError(f"each method once, got {', '.join(methods)}")
    if parts.policy is not None and "pretrained" in methods:
        raise UserError("pretrained is PPO's own policy, which cannot be fine-tuned as another network; leave it out")
    if parts.env is not None and not isinstance(parts.env, str) and (ppo := {*methods} & {*BASELINES} - {"random"}):
        raise UserError(f"baselines ({', '.join(sorted(ppo))}) need the environment's id: register it with Gymnasium")
    if "pretrained" in methods and not is_perceptron(_untrained(adapted_by_steps(config), parts)):
        raise UserError("pretrained is a perceptron of PPO's, without layer norm and not for pictures; leave it out")


def train_and_evaluate(
    config: Config,
    method: str | Method,
    protocol: Protocol,
    run: Path,
    parts: Parts = NO_PARTS,
    keep: Collection[str] = (),
) -> dict[str, Any]:
    """Train and evaluate one method or baseline with one seed; a run directory that began already is gone on with.

    Args:
        config: The preset, with the seed.
        method: Name of the method or the baseline; or a method.
        protocol: How it is measured.
        run: Where its run directory, or the baseline's policy, is or will be.
        parts: Objects that the preset names.
        keep: Settings of the preset that stay, whatever would suit the method.

    Returns:
        The adaptation curve as JSON takes it, `train_steps`, `seconds`, the protocol and the configuration.
    """
    parts.check(config.named_parts)
    if not isinstance(method, str) or method not in BASELINES:
        chosen = with_method(config, method, keep=keep)
        curve, train_steps, seconds = _method(chosen, config, protocol, run, parts)
    elif method == "scratch":
        curve, train_steps, seconds = _scratch(config, protocol, parts)
    else:
        curve, train_steps, seconds = _baseline(config, method, protocol, run, parts)
    return {
        **curve,
        "train_steps": train_steps,
        "seconds": seconds,
        "protocol": dataclasses.asdict(protocol),
        "config": as_dict(config),
    } | ({} if isinstance(method, str) else {"own": _about(method)})


def _method(
    chosen: Config, config: Config, protocol: Protocol, run: Path, parts: Parts
) -> tuple[dict[str, Any], int, float]:
    # judged once, at the end, by the protocol: evaluations along the way cost more steps than the training
    chosen = dataclasses.replace(
        chosen,
        eval_every=10**9,
        eval_tasks=config.tasks,
        eval_episodes=config.episodes,
        film=False,
    )
    directory = RunDirectory(run)
    if directory.holds_run and directory.method_name() != method_name(chosen.method):
        raise UserError(f"{run} holds a run of {directory.method_name()}; choose another --out")
    with closing(Trainer(chosen, parts)) as trainer:
        if directory.holds_run and directory.checkpoints():
            for note in resume(trainer, directory, chosen.method):
                warn(note)
        else:  # one that was stopped before its first checkpoint begins anew
            directory.create(chosen)
        train(trainer, 10**9, directory, budget=protocol.budget)
    return _curve(chosen, trainer.params, protocol, parts), trainer.progress.env_steps, trainer.progress.seconds


def _baseline(
    config: Config, kind: str, protocol: Protocol, run: Path, parts: Parts
) -> tuple[dict[str, Any], int, float]:
    config = adapted_by_steps(config)
    initial = config.method.initial
    if kind == "random":
        return _curve(config, initial(P.params_of(_untrained(config, parts))), protocol, parts), 0, 0.0
    model, seconds = cached_baseline(cast(Baseline, kind), config, protocol.budget, run)
    if kind == "pretrained":
        curve = _curve(config, initial(as_params(model, P.params_of(_untrained(config, parts)))), protocol, parts)
    else:
        curve = oracle_curve(model, config, protocol.evaluation(config), protocol.tasks, protocol.episodes).as_dict()
    return curve, model.num_timesteps, seconds


def adapted_by_steps(config: Config) -> Config:
    """Return the configuration of a baseline: it has no memory, so gradient steps adapt it.

    A context that nobody has trained would only jolt it.
    """
    config = with_method(config, "promp") if config.method.remembers else config
    return dataclasses.replace(config, context=0, reward_coef=0.0)


def _scratch(config: Config, protocol: Protocol, parts: Parts) -> tuple[dict[str, Any], int, float]:
    """Train PPO on each of the first held-out tasks; they share the budget."""
    started = time.perf_counter()
    inner_loop = build_inner_loop(config, parts, 1, 1)
    tasks = draw_tasks(inner_loop, protocol.tasks, protocol.eval_seed, protocol.stream)[:SCRATCH_TASKS]
    inner_loop.close()
    learned = [learn_from_scratch(config, protocol.budget // len(tasks), task) for task in tasks]
    curves = [{"env_steps": [n for n, _ in points], "returns": [value for _, value in points]} for points in learned]
    if not all(learned):
        raise UserError(f"a budget of {protocol.budget:,} steps is too small for an episode of {len(tasks)} tasks")
    train_steps = sum(points[-1][0] for points in learned)
    return {"env": config.env, "tasks": tasks.tolist(), "curves": curves}, train_steps, time.perf_counter() - started


def _untrained(config: Config, parts: Parts) -> Any:
    """Return the policy before any training."""
    inner_loop = build_inner_loop(config, parts, 1, 1)
    inner_loop.close()
    return inner_loop.sampler.policy


def _curve(config: Config, params: P.Params, protocol: Protocol, parts: Parts) -> dict[str, Any]:
    with closing(build_inner_loop(config, parts, protocol.tasks, protocol.episodes)) as inner_loop:
        return evaluate(inner_loop, params, protocol.evaluation(config)).as_dict()


def _about(method: Method) -> dict[str, Any]:
    """Return the name and the settings of a method of the user's."""
    settings = dataclasses.asdict(method) if dataclasses.is_dataclass(method) else {}  # type: ignore[call-overload]
    return {"name": method_name(method), **json.loads(json.dumps(settings))}


def _finished(file: Path, protocol: Protocol, config: Config, own: Method | None) -> dict[str, Any] | None:
    """Return a result that is there already.

    Raises:
        UserError: If it was made under another protocol or is damaged.
    """
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text())
        judged = changes(flat(found["protocol"]), dataclasses.asdict(protocol))
        made = _made_otherwise(found, config, own)
    except UserError as error:
        raise UserError(f"{str(file)!r} was made with other settings ({error}); choose another --out") from error
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{str(file)!r} is damaged ({error!r}); remove it to run it again") from error
    if judged:
        same_runs = found["protocol"].get("budget") == protocol.budget and not made
        again = ", or remove the files result.json to evaluate the same runs again" * same_runs
        raise UserError(
            f"{str(file)!r} was made under another protocol ({few(judged, 6)}); choose another --out{again}"
        )
    if made:
        raise UserError(
            f"{str(file)!r} was made with other settings or another preset ({few(made, 6)}); choose another --out"
        )
    return found


def _made_otherwise(found: dict[str, Any], config: Config, own: Method | None) -> list[str]:
    """Return the settings, and those of a method of the user's, in which a result differs, as `name: old -> new`."""
    before, now = str(found["config"].get("method", {}).get("name")), method_name(config.method)
    if before != now and ":" in before + now:  # a class of the user's, and not the same
        return [f"method: {before} -> {now}"]
    both = found.get("own") or {}, {} if own is None else _about(own)
    return [
        *differences(from_dict(found["config"], config.method), config),
        *changes(*({f"method.{name}": value for name, value in flat(values).items()} for values in both)),
    ]
