"""Put a run's best policy into the package, with a card.

    python benchmarks/pretrained.py RUN_DIR NAME

What the outer update remembers stays behind, so the file holds little more than the params. The card holds the
adaptation curve on held-out tasks that training never saw. A test plays it again, so slow
environments want fewer tasks and episodes.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import tyro
from common import machine
from ledger import without_paths

import metarl
from metarl.experiment import checkpoint
from metarl.experiment.directory import RunDirectory
from metarl.methods import method_name
from metarl.models.pretrained import FOLDER


@dataclasses.dataclass(frozen=True)
class Args:
    """Ship a policy."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    name: tyro.conf.Positional[str]
    """Name of the policy."""
    steps: int = 3
    """Gradient steps of the curve."""
    tasks: int = 40
    """Held-out tasks."""
    episodes: int = 20
    """Episodes a task and step."""
    seed: int = 2
    """Chooses the tasks and their episodes."""


def main() -> None:
    """Evaluate, copy, write the card."""
    args = tyro.cli(Args)
    record = json.loads((args.run / "config.json").read_text())
    if not RunDirectory(args.run).best.exists():
        raise SystemExit(f"{args.run} has not been evaluated yet: there is no best policy to ship")
    model = metarl.load(args.run)
    evaluation = {name: getattr(args, name) for name in ("steps", "tasks", "episodes", "seed")}
    curve = metarl.adaptation_curve(model, **evaluation).as_dict()
    card = {
        "env": curve["env"],
        "method": method_name(model.config.method),
        "env_steps": model.trainer.progress.env_steps,
        "command": " ".join(without_paths(record["command"])),
        "versions": record["versions"],
        "machine": machine(),
        "evaluation": evaluation,
        "curve": {name: curve[name] for name in ("steps", "mean", "ci_low", "ci_high")},
    }
    FOLDER.mkdir(exist_ok=True)
    best = dataclasses.replace(checkpoint.load(RunDirectory(args.run).best), outer={}, run=None)
    checkpoint.save(best, FOLDER / f"{args.name}.safetensors")
    (FOLDER / f"{args.name}.json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"{args.name}: {[round(value, 1) for value in curve['mean']]}")


if __name__ == "__main__":
    main()
