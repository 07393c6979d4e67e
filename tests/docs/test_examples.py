"""The scripts and notebooks in examples/ run."""

import runpy
import sys

import nbformat
import pytest
from blocks import ROOT
from nbclient import NotebookClient

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SAID = {
    "train_and_plot": "3 gradient steps: return",
    "own_environment": "heating at 20 degrees",
    "own_method": "ClippedMAML: return",
    "fine_tune_sb3": "after PPO:",
    "sb3_reptile": "PPO after Reptile: return",
    "sweep_optuna": "best: {'inner_lr'",
    "ray_workers": "workers 2:",
}
"""What each script says near its end."""


def test_all_are_here():
    assert {script.stem for script in SCRIPTS} == set(SAID)
    assert {notebook.stem for notebook in NOTEBOOKS} == {"tour", "adaptation_curves", "feature_reuse"}
    listed = (ROOT / "examples" / "README.md").read_text()
    assert all(f"`{file.name}`" in listed for file in (*SCRIPTS, *NOTEBOOKS))


@pytest.mark.parametrize(
    "script",
    [script if script.stem != "ray_workers" else pytest.param(script, marks=pytest.mark.slow) for script in SCRIPTS],
    ids=lambda script: script.stem,
)
def test_script_runs(script, monkeypatch, capsys):
    assert 20 <= len(script.read_text().splitlines()) <= 60
    monkeypatch.setattr(sys, "argv", [str(script), "--quick"])
    runpy.run_path(str(script), run_name="__main__")
    assert SAID[script.stem] in capsys.readouterr().out


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebook_is_small(notebook):
    """Outputs that are kept are no larger than needed, and none of them is an error."""
    assert notebook.stat().st_size < 300_000
    cells = nbformat.read(notebook, as_version=4).cells
    assert not [out for cell in cells for out in cell.get("outputs", ()) if out.output_type == "error"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebook_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("METARL_QUICK", "1")
    cells = nbformat.read(notebook, as_version=4)
    NotebookClient(cells, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
