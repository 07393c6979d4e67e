"""The command that began a run, with --resume added, goes on with it; where to compute is never taken from a file."""

import json
from textwrap import dedent

import pytest
from processes import SMALL

from metarl.cli.main import main
from metarl.experiment import checkpoint
from metarl.experiment.directory import RunDirectory

OWN = dedent(
    """
    from dataclasses import dataclass
    from metarl.methods import MAML
    @dataclass(frozen=True)
    class Mine(MAML):
        extra: float = 1.0
        loud: bool = True
    mine = Mine(inner_lr=0.3)
    def report(trainer, metrics):
        metrics["own/number"] = 1.0
    """
)
COMMANDS = [
    ["--film", "--first-order"],
    ["--no-film", "--no-layer-norm"],
    ["--layer-norm", "--horizon", "7", "--last-layer-std", "0.1"],
    ["--method", "fomaml", "--outer", "adam", "--outer-lr", "0.01"],
    ["--method=promp", "--inner-kl-target", "0.1"],
    ["--method", "rl2", "--lifetime", "3"],
    ["--method", "reptile", "--inner-optimizer", "adam", "--decay-iterations", "5"],
    ["--method", "owner:Mine", "--extra", "2", "--no-loud"],
    ["--method", "owner:mine", "--callback", "owner:report"],
    ["--method", "elsewhere:again", "--import", "owner"],
    ["--env-options", "goal_range", "0.4", "--baseline", "network"],
    ["--seed", "3", "--device", "cpu", "--workers", "local"],
]


@pytest.fixture
def owner(tmp_path, monkeypatch):
    (tmp_path / "owner.py").write_text(OWN)
    (tmp_path / "elsewhere.py").write_text("from owner import mine as again\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("options", COMMANDS, ids=" ".join)
def test_it_goes_on(options, owner, tmp_path, capsys):
    small = SMALL[:-2] if "--lifetime" not in options else [*SMALL[:-2], "--tasks", "3"]
    command = [*small, *options, "--checkpoint-every", "1", "--iterations", "1", "--log-dir", str(tmp_path / "run")]
    for resumed in ([], ["--resume"]):
        assert main([*command, *resumed]) == 0, capsys.readouterr().err
    assert main([*command, "--resume", "--iterations", "2"]) == 0
    assert RunDirectory(tmp_path / "run").newest()[0].state["iteration"] == 2


def test_few_shot_runs_too(tmp_path):
    small = "--tasks 2 --eval-tasks 2 --eval-queries 5 --hidden 8 --iterations 1".split()
    command = ["train", "sinusoid", *small, "--oracle", "--log-dir", str(tmp_path / "run")]
    assert main(["train", "sinusoid-oracle", *command[2:]]) == 0
    assert main(["train", "sinusoid-oracle", *command[2:], "--resume"]) == 0


def test_a_file_does_not_say_where_to_compute(tmp_path, capsys, observe):
    path = tmp_path / "run"
    assert main([*SMALL, "--iterations", "1", "--log-dir", str(path)]) == 0
    record = json.loads((path / "config.json").read_text())
    record["config"]["workers"] = "ray://127.0.0.1:9"
    checkpoint.write_json(path / "config.json", record)
    assert main([*SMALL, "--iterations", "2", "--log-dir", str(path), "--resume"]) == 0
    assert main(["eval", str(path), "--tasks", "2"]) == 0
    assert RunDirectory(path).recorded()["config"]["workers"] == "local"
    observe("config.json names a Ray cluster, then --resume", "nothing is connected to; the run goes on in one process")
