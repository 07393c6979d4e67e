"""What is typed: which command it is, and how its errors end."""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import metarl
from metarl.errors import HelpShown, NotFinite, UserError, did_you_mean

COMMANDS = {
    "train": ("train", "PRESET [--method NAME] [--log-dir DIR] [--resume] ...", "meta-train a policy or a network"),
    "eval": ("runs", "RUN [--steps 3] [--tasks 40] ...", "adaptation curve on held-out tasks"),
    "plot": ("runs", "RUN... [--x steps] [--style paper] [--out runs.png]", "learning and adaptation curves of runs"),
    "video": ("runs", "RUN [--task T ...] [--out film.gif]", "a task before and after adaptation"),
    "export": ("runs", "RUN --task T --to sb3 FILE", "an adapted policy for stable-baselines3"),
    "analyse": ("runs", "RUN [--along] [--out FILE]", "what adaptation changes, layer by layer"),
    "benchmark": ("compare", "PRESET [--methods M,M] [--seeds 3] ...", "methods and baselines compared"),
    "sb3": (
        "sb3",
        "ENV [--algorithm sac] [--k 2048] [--out model.zip] ...",
        "Reptile over an algorithm of stable-baselines3",
    ),
    "tune": ("tune", "PRESET --trials N [--storage sqlite:///tune.db] ...", "settings searched for by Optuna"),
    "presets": ("lists", "[--json]", "what can be trained"),
    "envs": ("lists", "[ID] [--check] [--json]", "the task distributions"),
    "completion": ("completion", "bash|zsh", "a script by which bash or zsh completes all this"),
}
"""Every command: the module of `metarl.cli` that has a function of its name, what is typed after it, what it does."""

HELP = "\n".join(
    [
        "usage: metarl COMMAND ...",
        "",
        *(f"  metarl {name} {usage}\n      {about}" for name, (_, usage, about) in COMMANDS.items()),
        "",
        "PRESET is a name from 'metarl presets', an id from 'metarl envs', module:Id-v0",
        "or module:Class of your own, or a TOML or JSON file of settings.",
        "'metarl train PRESET --help' lists every setting, 'metarl COMMAND --help' every",
        "option.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for the user's errors, 128 + n after signal n."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if not args or args[0] in ("-h", "--help", "--version"):
            print(metarl.__version__ if args[:1] == ["--version"] else HELP)
            return 0
        if args[0] not in COMMANDS:
            raise UserError(f"unknown command {args[0]!r}{did_you_mean(args[0], COMMANDS)}; 'metarl --help' lists all")
        module, *_ = COMMANDS[args[0]]
        return getattr(import_module(f"metarl.cli.{module}"), args[0])(args[1:])
    except (UserError, NotFinite) as error:
        _say(f"{' '.join(str(error).splitlines())}")
        return 2
    except KeyboardInterrupt:
        _say("stopped at once; what was saved stays")
        return 130
    except OSError as error:
        if _of_ours(error):
            _say(f"{str(error.filename)!r} cannot be used: {error.strerror}")
            return 2
        if not _of_printing(error):
            raise
        _output_fails()
        _say(f"cannot write to standard output: {error.strerror}")
        return 2
    except SystemExit as stop:
        if stop.code or isinstance(stop, HelpShown):
            raise
        raise RuntimeError("a part of yours called sys.exit, as if all were done") from stop
    except Exception as error:
        status = getattr(error, "exit_status", None)  # Interrupted, whose module would load all of torch
        if status is None:
            raise
        outcome = getattr(error, "outcome", "saved")
        _say(f"stopped by {error}; {outcome}{', --resume goes on' * (args[0] in ('train', 'sb3'))}")
        return int(status)


def _say(text: str) -> None:
    """Tell the user, if there still is a terminal."""
    with suppress(OSError):
        print(f"metarl: {text}", file=sys.stderr)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, line: int, *_: Any) -> None:
    """Tell the user of a warning, in a line as an error is told; where others' code is at fault, say where."""
    ours = category is UserWarning and "site-packages" not in filename
    at = "" if ours else f"{category.__name__} at {filename}:{line}: "
    _say(f"{at}{message}")


def _of_printing(error: OSError) -> bool:
    """Return whether an error came up where this command line prints."""
    frames = traceback.extract_tb(error.__traceback__)
    places = {"cli", "rich", "tyro"}
    return bool(frames) and not places.isdisjoint(Path(frames[-1].filename).parts[-3:-1]) and error.filename is None


def _of_ours(error: OSError) -> bool:
    """Return whether an error about a file came up in this package, or in what it called of the standard library."""
    frames, library = traceback.extract_tb(error.__traceback__), Path(os.__file__).parent
    files = [Path(frame.filename) for frame in frames]
    others = [f for f in files if f.exists() and ("site-packages" in f.parts or library not in f.parents)]
    return error.filename is not None and bool(others) and Path(metarl.__file__).parent in others[-1].parents


def _output_fails() -> bool:
    """Return whether standard output cannot be written; then what is left to write is dropped."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def run() -> None:
    """Entry point of the `metarl` command."""
    if sys.stdout is None:  # closed before it began; what is printed goes nowhere
        sys.stdout = open(os.devnull, "w")
    if sys.stderr is None:  # else what is meant for it would go to standard output
        sys.stderr = open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that does not know γ or ²
    warnings.showwarning = _show_warning
    try:
        status = main()
    except SystemExit as stop:  # after --help, which may have gone to a pipe that is shut
        if stop.code:
            raise
        status = 0
    if _output_fails():
        _say("cannot write to standard output")
        status = status or 2
    sys.exit(status)
