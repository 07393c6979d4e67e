"""The ledger of results says what its files say."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl.experiment.config import Config
from metarl.experiment.config_file import from_dict
from metarl.experiment.preset_file import find_preset
from metarl.experiment.run import RunDirectory, train
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML, method_name

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ALL = sorted((BENCHMARKS / "ledger").glob("*/*/seed-*"))
RUNS = [folder for folder in ALL if folder.parts[-2] not in ("oracle", "pretrained", "random")]


@pytest.fixture
def ledger(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("results_ledger", BENCHMARKS / "ledger.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("common", None)


def test_the_page_says_what_the_files_say(ledger):
    page = (BENCHMARKS / "ledger" / "ledger.md").read_text()
    assert page == ledger.text(), "run python benchmarks/ledger.py page"


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: "-".join(folder.parts[-3:]))
def test_a_run_is_whole(folder):
    about, curve = (json.loads((folder / name).read_text()) for name in ("run.json", "curve.json"))
    config = from_dict(about["config"])
    assert (method_name(config.method), f"seed-{config.seed}", config.title) == (*folder.parts[-2:], curve["env"])
    assert np.array(curve["per_task"]).shape == (about["evaluation"]["tasks"], 4)
    np.testing.assert_allclose(curve["mean"], np.mean(curve["per_task"], axis=0))
    with (folder / "progress.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert float(rows[-1]["time/iterations"]) == config.iterations
    assert float(rows[-1]["time/total_timesteps"]) == about["env_steps"]
    assert "/" not in about["command"].replace("metarl/", "")  # no path of the machine it ran on


def test_a_run_is_added_and_its_row_is_right(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "ledger")
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "published.json").write_text("[]")
    sizes = {"tasks": 2, "episodes": 2, "horizon": 5, "hidden": (4,), "iterations": 2, "eval_every": 1, "eval_tasks": 2}
    for seed in (1, 2):
        trainer = Trainer(Config("metarl/PointNavigation-v0", method=MAML(), seed=seed, eval_episodes=2, **sizes))
        directory = RunDirectory(tmp_path / f"run{seed}")
        directory.create(trainer.config)
        train(trainer, 2, directory, [])
        trainer.close()
    ledger.add([tmp_path / "run1", tmp_path / "run2"], family="walk", tasks=3, episodes=2)
    page = (tmp_path / "ledger" / "ledger.md").read_text()
    curves = [json.loads((tmp_path / f"ledger/walk/maml/seed-{seed}/curve.json").read_text()) for seed in (1, 2)]
    first, second = (curve["mean"][1] for curve in curves)
    digits = 2 if max(abs(np.mean([c["mean"] for c in curves], axis=0))) < 10 else 1
    line = next(line for line in page.splitlines() if line.startswith("| walk | maml | 2 | 0.00M |"))
    low, high = sorted((first, second))
    assert f"| **{(first + second) / 2:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})** |" in line
    assert line.endswith(f"|  | {first:.{digits}f}, {second:.{digits}f} |")
    rows = [tmp_path / f"ledger/walk/maml/seed-{seed}/run.json" for seed in (1, 2)]
    before = [json.loads(file.read_text()) | {"command": "as it was typed"} for file in rows]
    for file, about in zip(rows, before, strict=True):
        file.write_text(json.dumps(about))
    ledger.reproduce(family="walk", out=tmp_path / "again")
    for file, about, curve in zip(rows, before, curves, strict=True):
        again = json.loads(file.read_text())
        assert [again[name] for name in ("command", "config")] == [about[name] for name in ("command", "config")]
        assert json.loads((file.parent / "curve.json").read_text()) == curve


def test_every_row_can_be_trained_again_from_its_file(ledger):
    for file in (run / "run.json" for run in ALL if run.parts[-2] not in ledger.BASELINES):
        assert find_preset(str(file)).seed == int(file.parts[-2].removeprefix("seed-"))


def test_the_way_to_the_oracle(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "ledger")
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "published.json").write_text("[]")
    small = Config("metarl/PointNavigation-v0", method=MAML(), tasks=2, episodes=2, horizon=5, hidden=(4,))
    monkeypatch.setattr(ledger, "find_preset", {"walk": small}.get)
    ledger.baselines(preset="walk", budget=10, out=tmp_path / "out")
    low, high = (
        json.loads((tmp_path / f"ledger/walk/{kind}/seed-5/curve.json").read_text())["mean"][0]
        for kind in ("random", "oracle")
    )
    assert ledger.way_to_the_oracle(tmp_path / "ledger" / "walk", low + (high - low) / 4) == "25%"
    lines = [line for line in ledger.text().splitlines() if line.startswith("| walk ")]
    assert ["oracle" in line for line in lines] == [True, False, False] and "| 100% |" in lines[0]
    assert (tmp_path / "ledger/walk/oracle/seed-5/learning.csv").read_text().startswith("steps,return\n400,")
    assert "| walk | pretrained | 1 |" in lines[1]


def test_paths_are_left_out_of_commands(ledger):
    command = ["/some/where/metarl", "train", "ant-dir", "--log-dir", "/tmp/x", "--resume", "--seed", "3"]
    assert ledger.without_paths(command) == ["metarl", "train", "ant-dir", "--seed", "3"]


def test_settings_that_came_later_do_not_count(ledger):
    then = {"tasks": 20, "method": {"name": "promp", "inner_lr": 0.1}}
    assert not ledger.differs({**then, "processes": None, "method": {**then["method"], "new": 1}}, then)
    assert ledger.differs({**then, "method": {"name": "promp", "inner_lr": 0.2}}, then)
    assert ledger.differs({"method": then["method"]}, then)
