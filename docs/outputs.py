"""Run the commands that the documentation shows, and write what they print: `python docs/outputs.py`, in any folder."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path

from metarl.cli.main import main

FOLDER = Path(__file__).parent / "output"

COMMANDS = {
    "train": "train point-navigation --iterations 4 --log-dir runs/short",
    "eval": "eval pretrained:half-cheetah-dir --steps 2 --tasks 20",
    "plot": "plot runs/short --out curves.png",
    "video": "video runs/short --task 0.4 -0.3",
    "export": "export pretrained:half-cheetah-dir --task 1 --to sb3 forward.zip",
    "analyse": "analyse pretrained:point-navigation --tasks 10",
    "benchmark": "benchmark point-navigation --methods maml,fomaml,random --seeds 3 --budget 200000",
}
"""Each command, in the order in which they run."""


def run() -> None:
    """Run the commands in an empty folder."""
    FOLDER.mkdir(exist_ok=True)
    os.environ["COLUMNS"] = "110"
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
        for name, command in COMMANDS.items():
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                main(command.split())
            lines = [f"$ metarl {command}", *(line.rstrip() for line in said.getvalue().splitlines())]
            (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    run()
