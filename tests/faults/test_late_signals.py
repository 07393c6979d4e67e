"""Signals while a run ends: what was done is saved all the same."""

import os
import signal
from functools import partial

import pytest
from processes import SMALL, Command

from metarl.experiment import checkpoint
from metarl.experiment.directory import RunDirectory
from metarl.experiment.log import Log


def signalled_in(phase, name, times):
    """Have the process send itself a signal, while it saves its last checkpoint or opens or closes its logs."""

    def signalled(function):
        def wrapped(*args):
            if phase != "saving" or args[1].name == "iteration-000004.safetensors":
                for _ in range(times):
                    os.kill(os.getpid(), getattr(signal, name))
            return function(*args)

        return wrapped

    if phase == "saving":
        checkpoint.save = signalled(checkpoint.save)
    else:
        event = {"beginning": "on_start", "closing": "on_end"}[phase]
        setattr(Log, event, signalled(getattr(Log, event)))


@pytest.mark.parametrize(
    ("phase", "name", "times", "done"),
    [
        ("saving", "SIGTERM", 2, 4),
        ("saving", "SIGINT", 1, 4),
        ("closing", "SIGTERM", 1, 4),
        ("beginning", "SIGINT", 1, 1),
    ],
)
def test_a_signal_while_a_run_begins_or_ends(phase, name, times, done, tmp_path, observe):
    path = tmp_path / "run"
    arguments = [*SMALL, "--checkpoint-every", "1000", "--iterations", "4", "--log-dir", str(path)]
    run = Command(arguments, tmp_path, partial(signalled_in, phase, name, times))
    assert run.end() == 128 + getattr(signal, name), run.said
    assert run.said == f"metarl: stopped by {name}; saved, --resume goes on\n"
    saved, problems = RunDirectory(path).newest()
    assert saved.state["iteration"] == done and not problems and not [file for file in path.rglob(".*")]
    observe(f"{name} in the {phase} of a run of 4 iterations", f"`{run.said.strip()}`; checkpoint {done}")
