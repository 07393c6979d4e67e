"""Sizes that no machine has memory for are refused, with what they would take, before anything is allocated."""

import time

import pytest

from metarl.cli.main import main
from metarl.experiment import memory
from metarl.experiment.presets import PRESETS

BILLION = "1000000000"
SINES, POINT = ["train", "sinusoid"], ["train", "point-navigation"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*SINES, "--hidden", BILLION], "tasks=25, shots=10, queries=10 and hidden=(1000000000,)"),
        ([*SINES, "--shots", BILLION], "shots=1000000000"),
        ([*SINES, "--eval-tasks", BILLION], "tasks=1000000000"),
        ([*SINES, "--eval-queries", BILLION], "queries=1000000000"),
        (["train", "glyphs-5way-1shot", "--filters", BILLION], "filters=1000000000"),
        (["train", "folder-5way-1shot", "--folder", "imgs", "--side", BILLION], "side=1000000000"),
        ([*POINT, "--hidden", BILLION], "hidden=(1000000000,)"),
        ([*POINT, "--method", "rl2", "--hidden", BILLION, BILLION], "hidden=(1000000000, 1000000000)"),
        ([*POINT, "--episodes", BILLION], "episodes=1000000000"),
        ([*POINT, "--horizon", BILLION], "horizon=1000000000"),
        ([*POINT, "--eval-tasks", BILLION], "tasks=1000000000"),
        (["eval", "pretrained:point-navigation", "--tasks", BILLION], "tasks=1000000000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_too_large(arguments, named, monkeypatch, tmp_path, capsys, observe):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "machine_memory", lambda: 25 * 10**9)  # on a machine of any size
    start = time.perf_counter()
    assert main(arguments) == 2
    assert time.perf_counter() - start < 20
    said = capsys.readouterr().err
    assert said.startswith("metarl: ") and said.count("\n") == 1 and named in said
    assert "would take at least" in said and said.endswith("GB of memory; this machine has 25 GB\n")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]  # no run was begun
    observe(f"`{' '.join(arguments)}`", said)


def test_the_estimate_is_no_more_than_what_there_is():
    from metarl.experiment.build import Parts
    from metarl.experiment.trainer import Trainer

    for name in ("sinusoid", "glyphs-5way-1shot", "point-navigation"):
        trainer = Trainer(PRESETS[name], Parts())
        size = sum(value.numel() for value in trainer.params.values())
        trainer.close()
        assert 0.8 * size < PRESETS[name].least_params <= size


def test_this_machine_has_memory():
    there = memory.machine_memory()
    assert there is None or 10**8 < there < 10**15
