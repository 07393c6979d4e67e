"""Put a run's best policy into the package, with a card.

    python benchmarks/pretrained.py RUN_DIR NAME

The card holds the adaptation curve on 40 held-out tasks that training never saw.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import tyro
from common import machine

import metarl
from metarl.experiment.pretrained import FOLDER
from metarl.experiment.run import RunDirectory
from metarl.learners import method_of

EVALUATION = {"steps": 3, "tasks": 40, "episodes": 20, "seed": 2}


@dataclasses.dataclass(frozen=True)
class Args:
    """Ship a policy."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    name: tyro.conf.Positional[str]
    """Name of the policy."""


def main() -> None:
    """Evaluate, copy, write the card."""
    args = tyro.cli(Args)
    record = json.loads((args.run / "config.json").read_text())
    model = metarl.load(args.run)
    curve = metarl.adaptation_curve(model, **EVALUATION).as_dict()
    card = {
        "env": curve["env"],
        "method": method_of(model.config.learner),
        "env_steps": model.trainer.env_steps,
        "command": " ".join([Path(record["command"][0]).name, *record["command"][1:]]),
        "versions": record["versions"],
        "machine": machine(),
        "evaluation": EVALUATION,
        "curve": {name: curve[name] for name in ("steps", "mean", "ci_low", "ci_high")},
    }
    FOLDER.mkdir(exist_ok=True)
    shutil.copyfile(RunDirectory(args.run).best, FOLDER / f"{args.name}.safetensors")
    (FOLDER / f"{args.name}.json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"{args.name}: {[round(value, 1) for value in curve['mean']]}")


if __name__ == "__main__":
    main()
