"""The catalogue agrees with the code, and its examples run."""

import re
from pathlib import Path

import pytest
from metarl_envs import HORIZONS, WITH_PACKAGE
from metarl_envs.catalogue import catalogue, details, table

ALL = HORIZONS | WITH_PACKAGE
FOLDER = Path(__file__).parents[2] / "envs"
README = (FOLDER / "README.md").read_text()


def test_tables_are_up_to_date():
    entries = catalogue(ALL)
    for content in (table(entries), details(entries, "pictures")):
        assert content in README, "run python benchmarks/env_catalogue.py"


@pytest.mark.parametrize("key", ALL)
def test_pictures(key):
    picture = FOLDER / "pictures" / f"{key.split(':')[1]}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 30_000


def test_every_family_says_all():
    for entry in catalogue(ALL):
        for field in ("task", "task_space", "reward", "observation", "action", "ends", "source"):
            assert getattr(entry, field), (entry.env_id, field)
            assert "\n" not in getattr(entry, field)


def test_examples_run(capsys):
    examples = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len(examples) == 2
    names: dict = {"__name__": "readme"}
    for example in examples:
        exec(example, names)
    assert "Numbers(7 × body_mass times [0.5, 2]" in capsys.readouterr().out
