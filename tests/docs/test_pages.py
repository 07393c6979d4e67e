"""What the documentation shows runs, and its links lead somewhere."""

import re
import sys
import warnings

import pytest
from blocks import PAGES, ROOT, blocks, commands, run_blocks

from metarl.cli import options, train
from metarl.cli.main import main

IDS = [str(page.relative_to(ROOT / "docs")) for page in PAGES]


@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    """An empty folder from which modules can be imported, and which leaves none behind."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text(), "python")], ids=str)
def test_python_runs_and_commands_parse(page, page_folder, monkeypatch):
    text = page.read_text()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Overriding environment.*")
        run_blocks(text, page_folder)
    check_commands(text, monkeypatch)


@pytest.mark.parametrize("page", [page for page in PAGES if not blocks(page.read_text(), "python")], ids=str)
def test_commands_parse(page, monkeypatch):
    check_commands(page.read_text(), monkeypatch)


def check_commands(text, monkeypatch):
    """Parse every command with its options, and run none."""
    monkeypatch.setattr(train, "_run", lambda *parsed: 0)
    for words in commands(text):
        command, rest = words[0], [word for word in words[1:] if word != "--resume"]
        if command in ("train", "presets", "envs", "--help", "--version") or "--help" in rest:
            try:
                assert main([command, *rest]) == 0, words
            except SystemExit as stop:  # --help
                assert not stop.code, words
        else:
            kind = getattr(options, command.capitalize())
            options.parse(kind, rest[command == "benchmark" :], f"metarl {command}")


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=str)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.read_text()), f"{page.name}: {target}"


def anchors(text):
    """The names by which GitHub and MyST know a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
