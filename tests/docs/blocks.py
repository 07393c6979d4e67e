"""The code and the commands in the documentation."""

import re
from pathlib import Path

from metarl.cli import options, train
from metarl.cli.main import main
from metarl.cli.parse import parse
from metarl.cli.tune import Tune

ROOT = Path(__file__).parents[2]
PAGES = [
    page for page in sorted((ROOT / "docs").rglob("*.md")) if not page.relative_to(ROOT / "docs").parts[0][0] == "_"
]

SMALLER = {
    r"\biterations=\d+": "iterations=1",
    r"\btasks=\d+": "tasks=2",
    r"\bepisodes=\d+": "episodes=2",
    r"\bhorizon=\d+": "horizon=5",
    r"\btotal_timesteps=[\d_]+": "total_timesteps=64",
    r"\bk=\d+": "k=64",
    r"\bn_trials=\d+": "n_trials=2",
}
"""What makes an example take a second: each setting, and what takes its place."""


MODULE = re.compile(r"# (\w+)\.py\n")
"""How a block begins that is a module of its own."""


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The arguments of every `metarl` command that a page shows, without its comment."""
    lines = [line for block in blocks(text, "console") for line in block.splitlines()]
    shown = [re.fullmatch(r"\$ metarl (.*?)(?:\s+#.*)?", line) for line in lines]
    return [match[1].split() for match in shown if match]


def quick(code: str) -> str:
    """The code with small sizes."""
    for pattern, smaller in SMALLER.items():
        code = re.sub(pattern, smaller, code)
    return code


def write_modules(text: str, folder: Path) -> None:
    """Write each block that begins with `# NAME.py` to that file."""
    for code in blocks(text, "python"):
        file = MODULE.match(code)
        if file:
            (folder / f"{file[1]}.py").write_text(code)


def run_blocks(text: str, folder: Path) -> None:
    """Run a page's Python in order, at a small size; its modules are written to their files instead."""
    write_modules(text, folder)
    names: dict[str, object] = {"__name__": "page"}
    for code in blocks(text, "python"):
        if not MODULE.match(code):
            exec(compile(quick(code), "block", "exec"), names)


def check_commands(text: str, monkeypatch) -> int:
    """Parse every command of a page with its options, and run none; returns how many there were."""
    monkeypatch.setattr(train, "_run", lambda *parsed: 0)
    monkeypatch.setattr(train, "train_seeds", lambda *parsed: 0)
    shown = commands(text)
    for words in shown:
        words = words[: words.index(">")] if ">" in words else words
        command, rest = words[0], [word for word in words[1:] if word != "--resume"]
        if command == "train" and rest[0] == "--log-dir":  # goes on with a run that is not there
            rest = ["half-cheetah-dir", *rest]
        if command in ("train", "presets", "envs", "completion") or "--help" in words:
            try:
                assert main([command, *rest]) == 0, words
            except SystemExit as stop:  # --help
                assert not stop.code, words
        else:
            kind = Tune if command == "tune" else getattr(options, command.capitalize())
            parse(kind, rest[command in ("benchmark", "tune") :], f"metarl {command}")
    return len(shown)
