"""The snippets of docs/tracking.md, each run with the real tracker where it is installed, without a network."""

import os
import sqlite3
import subprocess
import sys

import pytest
from blocks import ROOT, blocks, quick

SNIPPETS = blocks((ROOT / "docs" / "tracking.md").read_text(), "py")
NUMBERS = ("eval/return_step1", "meta/return_step1", "train/approx_kl")

SMALL = """
import functools
import metarl.models.rl as rl

sizes = dict(tasks=2, episodes=2, horizon=5, eval_tasks=2, eval_episodes=2, eval_every=1)
rl.Config = functools.partial(rl.Config, **sizes)
"""


def run(tracker):
    """Run the snippet that imports a tracker, at a small size; returns what it prints."""
    (code,) = [code for code in SNIPPETS if f"import {tracker}\n" in code]
    code = f"{SMALL}\n{quick(code)}"
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "false"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_weights_and_biases_copies_the_scalars(tmp_path):
    pytest.importorskip("wandb")
    said = run("wandb")
    assert "wandb sync" in said and "eval/return_step1" in said and "global_step" in said
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert all(name.encode() in file.read_bytes() for name in NUMBERS)


@pytest.mark.slow
def test_mlflow_takes_the_numbers(tmp_path):
    pytest.importorskip("mlflow")
    run("mlflow")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        found = dict(database.execute("select key, max(step) from metrics group by key"))
    assert set(NUMBERS) <= set(found) and found["eval/return_step1"] > 0
