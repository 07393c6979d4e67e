"""The README's Python runs as it stands (with fewer iterations), and what it says of commands is true."""

import re
from pathlib import Path

import pytest

from metarl.cli import main
from metarl.experiment.presets import PRESETS
from metarl.methods import METHODS
from metarl.rl.environments import registered

README = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_run(snippet):
    quick = snippet.replace("iterations=100", "iterations=1").replace("horizon=100", "horizon=5")
    quick = quick.replace("tasks=20, episodes=20", "tasks=2, episodes=2").replace("tasks=40", "tasks=2")
    exec(compile(quick, "README.md", "exec"), {"__name__": "readme"})


def test_commands_parse():
    for line in re.findall(r"^\$ metarl (train .*?)(?: +#.*)?$", README, re.MULTILINE):
        with pytest.raises(SystemExit) as stop:
            main([*line.split(), "--help"])
        assert stop.value.code == 0


def test_tables_are_complete():
    assert set(re.findall(r"^\| `(metarl/\w+-v0)`", README, re.MULTILINE)) == set(registered())
    assert set(re.findall(r"^\| `metarl\.\w+` \| `([\w-]+)`", README, re.MULTILINE)) == set(METHODS)
    assert set(re.findall(r"metarl train ([\w-]+)", README)) - {"PRESET"} <= set(PRESETS)
