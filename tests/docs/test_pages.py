"""What the documentation shows runs, and its links lead somewhere."""

import re
from pathlib import Path

import pytest
from blocks import PAGES, ROOT, blocks, check_commands, commands, run_blocks, write_modules

from metarl.cli.main import COMMANDS, main

TINY = "--iterations 1 --tasks 2 --episodes 2 --eval-tasks 2 --eval-episodes 2".split()
TINY_SHOTS = "--iterations 1 --tasks 2 --eval-tasks 2 --eval-queries 2".split()


def name(page):
    """The page's path in the repository."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text(), "python")], ids=name)
def test_python_runs_and_commands_parse(page, page_folder, monkeypatch):
    text = page.read_text()
    run_blocks(text, page_folder)
    check_commands(text, monkeypatch)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "own/" in str(page) and commands(page.read_text())], ids=name
)
def test_commands_with_parts_of_ones_own_run(page, page_folder, monkeypatch):
    """Train, look and film with the modules that the page writes, at a small size."""
    text = page.read_text()
    write_modules(text, page_folder)
    monkeypatch.chdir(page_folder)
    shots = page.stem == "few-shot-tasks"
    evaluating = ["--tasks", "2"] if shots else ["--tasks", "2", "--episodes", "2"]
    for words in commands(text):
        smaller = {"train": TINY_SHOTS if shots else TINY, "eval": evaluating, "video": (), "envs": ()}[words[0]]
        assert main([*words, *smaller]) == 0, words


@pytest.mark.parametrize("page", [page for page in PAGES if not blocks(page.read_text(), "python")], ids=name)
def test_commands_parse(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("best.json").write_text('{"preset": "half-cheetah-dir"}')  # what `metarl tune` writes before it is trained
    check_commands(page.read_text(), monkeypatch)


def test_every_command_has_its_section():
    sections = re.findall(r"^## metarl (\w+)$", (ROOT / "docs" / "commands.md").read_text(), re.MULTILINE)
    assert set(sections) == set(COMMANDS)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name}: {target}"


def anchors(page):
    """The names by which GitHub and MyST know the headings of a page and of what it includes."""
    text = page.read_text()
    included = [page.parent / path for path in re.findall(r"^```{include} (\S+)", text, re.MULTILINE)]
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    own = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return own.union(*(anchors(file) for file in included if file.exists()))
