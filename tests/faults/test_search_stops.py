"""`metarl tune` is stopped: what is said is true, and no process is left over."""

import signal
import subprocess
import time

import pytest
from processes import children, running

from metarl.cli.seeds import COMMAND
from metarl.experiment.preset_file import find_preset

optuna = pytest.importorskip("optuna")

SMALL = """
preset = "point-navigation"
tasks = 2
episodes = 2
horizon = 5
eval_tasks = 2
eval_episodes = 2
iterations = 2
film = false
hidden = [8]
"""
KEPT = ["--storage", "sqlite:///tune.db"]


@pytest.fixture
def preset(tmp_path):
    (tmp_path / "mine.toml").write_text(SMALL)
    return "mine.toml"


def begun(arguments):
    """A search in a process of its own, which has been at it for a while."""
    process = subprocess.Popen(
        [*COMMAND, "tune", *arguments, "--trials", "100000", "--pruner", "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    end = time.monotonic() + 12  # by then the helpers search too
    while time.monotonic() < end:
        assert process.stdout.readline().startswith("trial")
    return process


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_every_process_and_says_what_is_kept(name, preset, observe):
    process = begun([preset, *KEPT, "--jobs", "3"])
    helpers = children(process.pid)
    assert len(helpers) == 2 and all(map(running, helpers))
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name)
    study = optuna.load_study(study_name="mine", storage=KEPT[1])
    done = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    kept = f"sqlite:///tune.db keeps its {done} finished trials, and the same command goes on"
    assert said == f"metarl: stopped by {name}; {kept}\n" and done >= 1
    assert not any(map(running, helpers))
    observe(f"{name} to metarl tune --jobs 3", f"status {process.returncode}, `{said.strip()}`")


@pytest.mark.slow
def test_helpers_end_with_the_first_process(preset):
    process = begun([preset, *KEPT, "--jobs", "2"])
    helpers = children(process.pid)
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    while any(map(running, helpers)):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_without_a_storage_the_best_so_far_is_written(preset):
    process = begun([preset])
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert said.startswith("metarl: stopped by SIGTERM; the best of its ") and "is in best.json" in said
    assert find_preset("best.json").tasks == 2
