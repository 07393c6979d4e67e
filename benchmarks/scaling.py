"""What travels between the workers, and seconds of each phase, against the number of workers; and a model of 64.

python benchmarks/scaling.py --json benchmarks/results/scaling.json
"""

from __future__ import annotations

import dataclasses
import pickle
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from common import report
from torch import Tensor

from metarl.experiment.presets import find_preset
from metarl.experiment.trainer import Trainer
from metarl.workers.local import Workers

PHASES = {"collect": "sampling", "loss_and_gradient": "gradient", "fisher_product": "Fisher products"}
"""The phases by call; all the rest is the line search."""
CLUSTER = 64
"""Workers of the cluster that the model is of."""


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure meta-iterations on local and on Ray's workers."""

    preset: str = "half-cheetah-vel"
    """What is trained."""
    workers: str = "local,1,2"
    """Numbers of workers, by comma; local is one process without Ray."""
    iterations: int = 3
    """Meta-iterations measured."""
    tasks: int = 40
    """Tasks a meta-iteration."""
    episodes: int = 20
    """Episodes a task and phase."""
    horizon: int = 100
    """Steps an episode."""
    bandwidth: float = 1.25e8
    """Bytes a second of the model's network."""
    note: str = ""
    """What the reader of the figures should know, written with them."""
    json: Path | None = None
    """Where to write the figures."""


class Meter:
    """Counts the calls to workers, the bytes that travel and the seconds they take."""

    def __init__(self, workers: Workers) -> None:
        self.original, self.seconds = workers.ask, dict.fromkeys([*PHASES.values(), "line search"], 0.0)
        self.calls = self.sent = self.received = 0
        workers.ask = self.ask  # type: ignore[method-assign]

    def ask(self, name: str, *args: Any) -> list[Any]:
        """Ask, and count."""
        started = time.perf_counter()
        answers = self.original(name, *args)
        self.seconds[PHASES.get(name, "line search")] += time.perf_counter() - started
        self.calls += 1
        self.sent += sum(_size(arg) for arg in args)
        self.received += sum(_size(answer) for answer in answers)
        return answers


def _size(value: Any) -> int:
    """Return the bytes of a value as it travels."""
    return len(pickle.dumps(_arrays(value), protocol=5))


def _arrays(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_arrays(part) for part in value)
    return value.numpy() if isinstance(value, Tensor) else value


def measure(args: Args, workers: int | str) -> dict[str, Any]:
    """Run some iterations after a first one to warm up, and return means of an iteration (seconds: medians)."""
    sizes = {"tasks": args.tasks, "episodes": args.episodes, "horizon": args.horizon}
    trainer = Trainer(dataclasses.replace(find_preset(args.preset), workers=workers, **sizes))
    try:
        trainer.iterate()
        rows = []
        for _ in range(args.iterations):
            meter = Meter(trainer.workers)
            started = time.perf_counter()
            trainer.iterate()
            rows.append((meter, time.perf_counter() - started))
            trainer.workers.ask = meter.original  # type: ignore[method-assign]
    finally:
        trainer.close()
    number = 1 if workers == "local" else int(workers)
    row: dict[str, Any] = {"workers": str(workers), "tasks": args.tasks}
    for phase in rows[0][0].seconds:
        row[f"{phase}, s"] = statistics.median(meter.seconds[phase] for meter, _ in rows)
    row["all, s"] = statistics.median(seconds for _, seconds in rows)
    row["calls"] = float(np.mean([meter.calls for meter, _ in rows]))
    row["bytes to each"] = float(np.mean([meter.sent for meter, _ in rows]))
    row["bytes from each"] = float(np.mean([meter.received / number for meter, _ in rows]))
    return row


def round_trip(args: Args, tries: int = 100) -> float:
    """Return the seconds of a call that computes nothing, to one actor."""
    trainer = Trainer(dataclasses.replace(find_preset(args.preset), workers=1, tasks=1, episodes=1))
    try:
        started = time.perf_counter()
        for _ in range(tries):
            trainer.workers.prepare({})
        return (time.perf_counter() - started) / tries
    finally:
        trainer.close()


def model(local: dict[str, Any], remote: dict[str, Any], trip: float, bandwidth: float) -> dict[str, Any]:
    """Return a model, not a measurement, of an iteration on a cluster whose workers are each like this machine.

    Each owns as many tasks as were measured here, so the phases' work takes as long. Each call adds a
    round trip; the params go to all workers, and all answers to the driver, through the driver's one link.
    """
    travel = CLUSTER * (remote["bytes to each"] + remote["bytes from each"]) / bandwidth
    row = local | {"workers": f"{CLUSTER} (model)", "tasks": CLUSTER * local["tasks"]}
    row["all, s"] = local["all, s"] + remote["calls"] * trip + travel
    return row | {name: remote[name] for name in ("calls", "bytes to each", "bytes from each")}


def main() -> None:
    args = tyro.cli(Args)
    numbers = [name if name == "local" else int(name) for name in args.workers.split(",")]
    rows = [measure(args, number) for number in numbers]
    trip = round_trip(args)
    rows.append(model(rows[0], rows[-1], trip, args.bandwidth))
    title = f"{args.preset}, {args.tasks} tasks x {args.episodes} episodes x {args.horizon} steps"
    title += f"; an empty call takes {1e3 * trip:.1f} ms"
    settings = {name: value for name, value in dataclasses.asdict(args).items() if name != "json"}
    report(title, rows, args.json, settings=settings, round_trip_seconds=trip)


if __name__ == "__main__":
    main()
