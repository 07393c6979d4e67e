"""The README's Python runs, its commands are accepted with their options, and its tables name all there is."""

import re

from blocks import ROOT, check_commands, run_blocks

from metarl.methods import METHODS
from metarl.rl.ids import registered

README = (ROOT / "README.md").read_text()

MY_MODULE = '''
from dataclasses import dataclass

import gymnasium
from metarl.methods import MAML


@dataclass(frozen=True)
class MyMethod(MAML):
    """MAML by another name."""


def make_policy(observation_space, action_space, generator):
    """Never called here."""


gymnasium.register("MyEnv-v0", entry_point="metarl_envs.families.navigation:PointNavigationEnv", max_episode_steps=5)
'''


def test_is_short():
    lines = README.splitlines()
    assert len(lines) <= 200
    assert max(map(len, lines)) <= 140


def test_python_runs(page_folder):
    run_blocks(README, page_folder)


def test_commands_are_accepted(page_folder, monkeypatch):
    (page_folder / "my_module.py").write_text(MY_MODULE)
    assert check_commands(README, monkeypatch) >= 10


def test_tables_are_complete():
    environments = README.split("## Environments")[1].split("## ")[0]
    rows = [line for line in environments.splitlines() if line.startswith("|")]
    named = {f"metarl/{name}-v0" for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert named == set(registered())
    assert set(re.findall(r"^\| `metarl\.\w+` \| `([\w-]+)`", README, re.MULTILINE)) == set(METHODS)


def test_headline_figures_are_those_of_the_results_page():
    """Every row of the table of results stands, figure by figure, in docs/results.md."""
    table = README.split("## Results")[1].split("## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    results = (ROOT / "docs" / "results.md").read_text().splitlines()
    assert len(rows) >= 4
    for row in rows:
        (there,) = [line for line in results if line.startswith(f"|{row[0]}|")]
        cells = {cell.strip() for cell in there.split("|")}
        assert {cell.strip() for cell in row[2:]} <= cells, row
