"""The ledger of results: what was trained, how, and what it reaches on test tasks.

    python benchmarks/ledger.py add RUN_DIR... --family half-cheetah-dir    takes finished runs into the ledger
    python benchmarks/ledger.py baselines --preset ant-vel --budget 10000000 trains what stands beside the methods
    python benchmarks/ledger.py page                                         writes ledger/ledger.md from its files
    python benchmarks/ledger.py reproduce --family half-cheetah-dir          trains and evaluates a family's rows again

`ledger/FAMILY/METHOD/seed-N/` holds of one run: `run.json` (command, commit, configuration, versions, machine, how it
was evaluated), `progress.csv` as the run wrote it and `curve.json`, the adaptation curve of its best policy on test
tasks, by which no run chose anything. Of a baseline it holds the same, but for `learning.csv` in place of the
progress; `oracle` is PPO of stable-baselines3 that observes the task, `pretrained` the same that does not and is
fine-tuned by gradient steps, `random` the policy before any training.
`ledger/published.json` holds figures of others with their sources.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from common import machine, versions
from numpy.typing import NDArray

import metarl
from metarl.core.statistics import mean_and_interval
from metarl.experiment.config import Config
from metarl.experiment.preset_file import find_preset
from metarl.experiment.versions import git_commit
from metarl.methods import method_name
from metarl.report.benchmark import Protocol, adapted_by_steps, train_and_evaluate

LEDGER = Path(__file__).parent / "ledger"

BASELINES = ("oracle", "pretrained", "random")
"""What a row may be of besides a method."""

BASELINE = "python benchmarks/ledger.py baselines"
"""What makes such a row."""

PREFACE = """# Ledger of results

Made from the files beside it by `python benchmarks/ledger.py page`; a test checks that it says what they say.
`make ledger FAMILY=half-cheetah-dir` trains a family's rows again with the settings recorded here, whatever has become
of the presets since, and puts them in place of those here; `metarl train` trains one of a method elsewhere, from its
file `benchmarks/ledger/FAMILY/METHOD/seed-N/run.json`. `oracle`, `pretrained` and `random` are made by the commands
below.

Mean undiscounted returns (or what else a row names) after 0 to 3 inner steps over test tasks and seeds, ± half of a
95 % interval: of a row with one seed that over the tasks, which says nothing of other seeds; of one with three or more
the root of the sum of the squares of that over the tasks and that over the seeds, Student's t each, which is wide where
the seeds differ. Of two seeds the lower and the higher are given. The mean of each seed after one step stands at the
end. Minutes are those of one thread, on a machine that others used too: an upper bound. Each run's policy is the best
by held-out tasks of its own, not by these (`metarl eval RUN --tasks 40 --episodes 20 --seed 1`, or as `run.json` says);
but the earlier Meta-World runs below (MAML's and ProMP's seed 5 on ml1-reach and MAML's other seeds there, MAML's and
RL²'s on ml1-push, ProMP's on ml1-pick-place, RL²'s on ml10) chose theirs by 20 goals of the 50 that judge, as runs no
longer do. *Way* is how far the return after one step lies from that of the untrained policy (0 %) to
that of the oracle (100 %), PPO of stable-baselines3 that observes the task. A row with one seed says little about
another seed, and a short run shows that a preset learns, not how far.

"""


def add(
    runs: tyro.conf.Positional[list[Path]],
    *,
    family: str,
    tasks: int = 40,
    episodes: int | None = 20,
    seed: int = 1,
    curve: Path | None = None,
) -> None:
    """Take finished runs into the ledger.

    Args:
        runs: Run directories.
        family: Name of the family, a preset's where there is one.
        tasks: Test tasks of the curve.
        episodes: Episodes a task and step; for reinforcement learning only.
        seed: Chooses the tasks and their episodes.
        curve: A curve of the (single) run that `metarl eval --json` wrote with these; by default it is drawn now.
    """
    for run in runs:
        record = json.loads((run / "config.json").read_text())
        model = metarl.load(run)
        drawn = json.loads(curve.read_text()) if curve else None
        played = episodes if isinstance(model.config, Config) else None
        drawn = drawn or metarl.adaptation_curve(model, 3, tasks, played, seed).as_dict()
        if len(drawn["per_task"]) != tasks:
            raise SystemExit(f"{curve} is of {len(drawn['per_task'])} tasks, not {tasks}")
        rows = progress(run / "progress.csv")
        about = {
            "command": " ".join(without_paths(record["command"])),
            "git_commit": record["git_commit"],
            "versions": record["versions"],
            "machine": machine(),
            "env_steps": int(float(rows[-1]["time/total_timesteps"])),
            "seconds": round(float(rows[-1]["time/total_seconds"]), 1),
            "evaluation": {"tasks": tasks, "episodes": played, "seed": seed},
            "config": record["config"],
        }
        folder = LEDGER / family / method_name(model.config.method) / f"seed-{record['seed']}"
        folder.mkdir(parents=True, exist_ok=True)
        if (row_file := folder / "run.json").exists():
            before = json.loads(row_file.read_text())
            if not differs(record["config"], before["config"]):  # trained again, from this very file perhaps
                about["command"] = before["command"]
        write(row_file, about)
        write(folder / "curve.json", drawn)
        shutil.copyfile(run / "progress.csv", folder / "progress.csv")
    page()


def baselines(
    *, preset: str, budget: int, kinds: tuple[str, ...] = BASELINES, seed: int = 5, out: Path = Path("runs/ledger")
) -> None:
    """Train the baselines of a preset's environment, and measure them.

    Args:
        preset: The preset.
        budget: Environment steps of those that are trained.
        kinds: Which: oracle, pretrained, random.
        seed: Of its training.
        out: Where the trained policy goes; if it is there already, it is not trained again.
    """
    config = find_preset(preset)
    if not isinstance(config, Config):
        raise SystemExit(f"{preset} has no environment to observe a task of")
    config = replace(adapted_by_steps(config), seed=seed)
    protocol = Protocol(budget, steps=3, tasks=40, episodes=20, eval_seed=1)
    for kind in kinds:
        run, folder = out / preset / f"{kind}-{seed}-{budget}", LEDGER / preset / kind / f"seed-{seed}"
        for made in (run, folder):
            made.mkdir(parents=True, exist_ok=True)
        found = train_and_evaluate(config, kind, protocol, run)
        about = {
            "command": f"{BASELINE} --preset {preset} --budget {budget} --kinds {kind} --seed {seed}",
            "git_commit": git_commit(),
            "versions": versions(),
            "machine": machine(),
            "env_steps": found.pop("train_steps"),
            "seconds": round(found.pop("seconds"), 1),
            "evaluation": {"tasks": protocol.tasks, "episodes": protocol.episodes, "seed": protocol.eval_seed},
            "config": found.pop("config"),
        }
        del found["protocol"]
        write(folder / "run.json", about)
        write(folder / "curve.json", found)
        if kind != "random":
            shutil.copyfile(run / "learning.csv", folder / "learning.csv")
    page()


def page() -> None:
    """Write ledger.md from the ledger's files."""
    (LEDGER / "ledger.md").write_text(text())


def reproduce(*, family: str, method: str | None = None, out: Path = Path("runs/ledger")) -> None:
    """Train a family's rows again, with their recorded settings, and take them in place of what is there.

    Args:
        family: Name of the family.
        method: Its method; by default all that have a row.
        out: Where the runs go; what is there is gone on with.
    """
    found = [
        file
        for file in sorted((LEDGER / family).glob(f"{method or '*'}/seed-*/run.json"))
        if file.parts[-3] not in BASELINES
    ]
    if not found:
        raise SystemExit(f"the ledger has no row of {family} {method or ''}; it has {', '.join(families())}")
    for file in found:
        about, run = json.loads(file.read_text()), out / file.parent.relative_to(LEDGER)
        words = [str(Path(sys.executable).parent / "metarl"), "train", str(file), "--log-dir", str(run)]
        subprocess.run([*words, *["--resume"] * (run / "config.json").exists()], check=True)
        add([run], family=family, **about["evaluation"])


def differs(now: Any, then: Any) -> bool:
    """Return whether a setting that was recorded has another value now; those that came later do not count."""
    if isinstance(now, dict) and isinstance(then, dict):
        return any(differs(now.get(name), value) for name, value in then.items())
    return bool(now != then)


def families() -> list[str]:
    """Return the families that have a row."""
    return sorted({file.parts[-4] for file in LEDGER.glob("*/*/seed-*/run.json")})


def text() -> str:
    """Return the page."""
    lines = PREFACE.splitlines()
    header = [
        "family",
        "method",
        "seeds",
        "steps a seed",
        "minutes",
        "before",
        "1 step",
        "2",
        "3",
        "way",
        "1 step, by seed",
    ]
    folders = [path for family in families() for path in sorted((LEDGER / family).iterdir()) if path.is_dir()]
    rows = [row(folder) for folder in folders]
    rows += [row(folder, "success") for folder in folders if "success" in curves_of(folder)[0]]
    lines += table(header, rows)
    lines += ["", "## Published", "", "Other bodies, time steps and horizons than ours, where the source says so.", ""]
    names, published = (
        ("family", "method", "steps", "returns", "source"),
        json.loads((LEDGER / "published.json").read_text()),
    )
    lines += table(
        ["family", "method", "steps", "before, 1 step, 3 steps", "source"],
        [[entry[name] for name in names] for entry in published],
    )
    lines += ["", "## Commands", "", "As they were typed at the commit named; presets have changed since.", ""]
    for file in sorted(LEDGER.glob("*/*/seed-*/run.json")):
        about = json.loads(file.read_text())
        where = file.parent.relative_to(LEDGER)
        lines.append(f"* `{where}`: `{about['command']}`, commit {about['git_commit'][:9]}, {about['machine']['cpu']}")
    return "\n".join(lines) + "\n"


def curves_of(folder: Path) -> list[dict[str, Any]]:
    """Return the curves of a method's seeds."""
    return [json.loads((seed / "curve.json").read_text()) for seed in sorted(folder.glob("seed-*"))]


def row(folder: Path, measure: str | None = None) -> list[str]:
    """Return a method's row of the page: what it learned by, or its success."""
    seeds = sorted(folder.glob("seed-*"))
    runs = [json.loads((seed / "run.json").read_text()) for seed in seeds]
    drawn = [curve[measure] if measure else curve for curve in curves_of(folder)]
    curves = np.array([curve["per_task"] for curve in drawn])  # [S, K, steps]
    per_task, by_seed = curves.mean(0), curves.mean(1)
    half = half_interval(per_task) if len(seeds) == 1 else np.hypot(half_interval(per_task), half_interval(by_seed))
    mean, digits = per_task.mean(0), 2 if np.abs(per_task.mean(0)).max() < 10 else 1
    cells = [f"{value:.{digits}f} ± {width:.{digits}f}" for value, width in zip(mean, half, strict=True)]
    if len(seeds) == 2:
        ends = zip(mean, by_seed.min(0), by_seed.max(0), strict=True)
        cells = [f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" for value, low, high in ends]
    cells[1] = f"**{cells[1]}**"
    steps = sorted({run["env_steps"] for run in runs})
    minutes = np.mean([run["seconds"] for run in runs]) / 60
    shown = " to ".join(f"{n / 1e6:.2f}M" for n in dict.fromkeys((steps[0], steps[-1])))
    each = ", ".join(f"{value:.{digits}f}" for value in by_seed[:, 1])
    way = "" if measure else way_to_the_oracle(folder.parent, per_task.mean(0)[1])
    what = drawn[0]["measure"]
    family = folder.parent.name + (f", {what}" if what != "return" else "")
    return [family, folder.name, str(len(seeds)), shown, f"{minutes:.0f}", *cells, way, each]


def half_interval(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half of the 95 % interval (Student's t) of the mean of draws `[n, k]`, tasks or seeds, `[k]`."""
    centre, _, high = mean_and_interval(values)
    return high - centre


def way_to_the_oracle(family: Path, reached: float) -> str:
    """Return how far a return lies from the untrained policy's to the oracle's, if the ledger has both."""
    ends = [
        [json.loads(file.read_text())["mean"][0] for file in family.glob(f"{kind}/seed-*/curve.json")]
        for kind in ("random", "oracle")
    ]
    if not all(ends):
        return ""
    low, high = (float(np.mean(values)) for values in ends)
    return f"{(reached - low) / (high - low):.0%}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows)]


def progress(file: Path) -> list[dict[str, str]]:
    """Return the rows of a run's CSV."""
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def without_paths(command: Sequence[str]) -> list[str]:
    """Return a command without the path of the program, the run's directory and `--resume`."""
    words = [Path(command[0]).name, *command[1:]]
    at = words.index("--log-dir") if "--log-dir" in words else len(words)
    return [word for i, word in enumerate(words) if i not in (at, at + 1) and word != "--resume"]


def write(file: Path, value: dict[str, Any]) -> None:
    """Write JSON that a person can read."""
    file.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"add": add, "baselines": baselines, "page": page, "reproduce": reproduce})
