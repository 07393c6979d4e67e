"""Runs that are killed, told to stop, or find the disk full: what is left can be gone on with."""

import csv
import os
import random
import resource
import signal
import subprocess
import time
from functools import partial

import pytest
import torch
from processes import SMALL, Command
from stable_baselines3.common.logger import TensorBoardOutputFormat
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metarl import UserError
from metarl.cli import main
from metarl.experiment import checkpoint
from metarl.experiment import trainer as training
from metarl.experiment.directory import RunDirectory
from metarl.experiment.signals import signals, writing
from metarl.outer import TRPO
from metarl.rl.sampler import Sampler


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A run of six iterations that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    assert main([*SMALL, "--iterations", "6", "--log-dir", str(path)]) == 0
    return path


def go_on(path, folder, iterations=6):
    """Resume, and return what was said on standard output."""
    command = Command([*SMALL, "--iterations", str(iterations), "--log-dir", str(path), "--resume"], folder)
    assert command.end() == 0, command.said
    return command.out.read_text()


def assert_same(path, whole):
    """The run equals one that nothing disturbed: params, table, TensorBoard; nothing unfinished lies about."""
    ours, theirs = (RunDirectory(p).newest()[0] for p in (path, whole))
    assert ours.state["iteration"] == theirs.state["iteration"] == 6
    assert all(torch.equal(ours.params[name], theirs.params[name]) for name in theirs.params)
    assert rows(path) == rows(whole)
    assert points(path) == points(whole)
    assert not [file for file in path.rglob(".*")]


def rows(path):
    with open(path / "progress.csv", newline="") as file:
        return [{n: v for n, v in row.items() if "seconds" not in n and "fps" not in n} for row in csv.DictReader(file)]


def points(path):
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    names = [name for name in accumulator.Tags()["scalars"] if "seconds" not in name and "fps" not in name]
    return {name: [(e.step, e.value) for e in accumulator.Scalars(name)] for name in names}


def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_checkpoint_3(moment):
    """Kill this very process with signal 9 while it writes the checkpoint of iteration 3."""
    save, unlink = checkpoint.save, checkpoint.Path.unlink

    class Half:
        """A file of which half is written when the process dies."""

        def __init__(self, path, mode):
            self.file = open(path, mode, buffering=0)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            die()

    def save_and_die(state, path):
        if path.name.endswith("000003.safetensors"):
            if moment == "half written":
                checkpoint.open = Half
            elif moment == "written":
                checkpoint.os.fsync = die
            elif moment == "on the disk":
                checkpoint.os.replace = die
            else:  # in place, before older ones are removed
                checkpoint.Path.unlink = lambda path, **kw: (
                    die() if path.name.startswith("iter") else unlink(path, **kw)
                )
        save(state, path)

    checkpoint.save = save_and_die


@pytest.mark.parametrize(
    "moment",
    [
        "half written",
        pytest.param("written", marks=pytest.mark.slow),
        "on the disk",
        pytest.param("in place", marks=pytest.mark.slow),
    ],
)
def test_killed_while_a_checkpoint_is_written(moment, whole, tmp_path, observe):
    path = tmp_path / "run"
    killed = Command(
        [*SMALL, "--iterations", "6", "--log-dir", str(path)], tmp_path, partial(die_in_checkpoint_3, moment)
    )
    assert killed.end() == -signal.SIGKILL
    saved, problems = RunDirectory(path).newest()
    assert saved.state["iteration"] == (3 if moment == "in place" else 2) and not problems
    go_on(path, tmp_path)
    assert_same(path, whole)
    last = saved.state["iteration"]
    observe(
        f"kill -9 while checkpoint 3 is {moment}", f"checkpoint {last} loads; resumed, the run equals one never stopped"
    )


@pytest.mark.slow
def test_killed_at_random_moments(whole, tmp_path, observe):
    path, dice, kills = tmp_path / "run", random.Random(0), 0
    for attempt in range(40):
        begun = (path / "checkpoints").exists() and RunDirectory(path).checkpoints()
        arguments = [*SMALL, "--iterations", "6", "--log-dir", str(path), *(["--resume"] if begun else [])]
        if path.exists() and not begun:
            subprocess.run(["rm", "-r", str(path)], check=True)
        run = Command(arguments, tmp_path)
        if attempt < 25:
            time.sleep(dice.uniform(0.05, 0.6))
            run.send("SIGKILL")
            kills += run.end() == -signal.SIGKILL
            continue
        assert run.end() == 0, run.said
        break
    assert_same(path, whole)
    observe("kill -9 at random moments", f"killed {kills} times and resumed, the run equals one never stopped")


@pytest.mark.parametrize(
    ("limit", "options", "what"), [(60_000, ["--hidden", "200", "200"], "checkpoint"), (2000, [], "logs")]
)
def test_a_full_disk(limit, options, what, tmp_path, observe):
    path = tmp_path / "run"
    common = [*SMALL, *options, "--eval-every", "1000", "--iterations", "100000", "--log-dir", str(path)]
    if what == "checkpoint":
        common += ["--log-every", "1000"]
    run = Command(common, tmp_path)
    while not RunDirectory(path).checkpoints()[2:]:
        assert run.process.is_alive(), run.said
        time.sleep(0.01)
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (limit, limit))
    assert run.end() == 2, run.said
    assert run.said.startswith("metarl: cannot write ") and run.said.count("\n") == 1
    assert what in run.said and "File too large" in run.said and "--resume goes on" in run.said
    saved, problems = RunDirectory(path).newest()
    assert saved.state["iteration"] >= 2 and not problems
    assert not [file for file in path.rglob(".*")]
    again = Command(
        [*SMALL, *common[len(SMALL) :], "--resume", "--iterations", str(saved.state["iteration"] + 2)], tmp_path
    )
    assert again.end() == 0, again.said
    observe(f"RLIMIT_FSIZE reached by the {what}", f"status 2, `{run.said}`")


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_of_300_kilobytes(small_disk, tmp_path, observe):
    path = small_disk / "run"
    arguments = [*SMALL, "--iterations", "100000", "--log-dir", str(path), "--keep-checkpoints", "1000"]
    run = Command(arguments, tmp_path)
    assert run.end(300) == 2, run.said
    assert "No space left on device" in run.said and run.said.count("\n") == 1
    saved, problems = RunDirectory(path).newest()
    assert saved.state["iteration"] >= 1 and not problems
    assert not [file for file in path.rglob(".*")]
    observe("a disk of 300 kB is full", f"status 2, `{run.said}`")


def linger_in(phase):
    """Say so and stay a while in one phase of the third iteration."""
    where = {"sampling": (Sampler, "sample"), "meta-update": (TRPO, "step"), "evaluation": (training, "evaluate")}
    owner, name = where[phase]
    at = {"sampling": 5, "meta-update": 3, "evaluation": 1}[phase]  # two samplings an iteration
    before, count = getattr(owner, name), 0

    def linger(*args, **kwargs):
        nonlocal count
        count += 1
        if count == at:
            print(f"in {phase}")
            end = time.time() + 0.3
            while time.time() < end:
                time.sleep(0.01)
        return before(*args, **kwargs)

    setattr(owner, name, linger)


@pytest.mark.parametrize(("times", "written"), [(2, [1, 2]), (3, [1])])
def test_a_second_interrupt_waits_for_a_record_and_a_third_does_not(times, written, tmp_path, monkeypatch, observe):
    write = TensorBoardOutputFormat.write

    def interrupted(self, values, excluded, step):
        if values["time/iterations"] == 2:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        write(self, values, excluded, step)

    monkeypatch.setattr(TensorBoardOutputFormat, "write", interrupted)
    path = tmp_path / "run"
    assert main([*SMALL, "--iterations", "9", "--log-dir", str(path)]) == 130
    assert [value for _, value in points(path)["time/iterations"]] == written
    assert [row["time/iterations"] for row in rows(path)] == ["1", "2"]  # the table has it first, and once
    observe(f"{times} SIGINT while the record of iteration 2 is written", f"status 130; in TensorBoard: {written}")


def test_a_full_disk_is_told_also_where_a_second_interrupt_waits():
    with pytest.raises(UserError, match="cannot write the logs: No space left on device"), signals() as caught:
        with writing("the logs"):
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            raise OSError(28, "No space left on device")
    assert caught == [signal.SIGINT, signal.SIGINT]
    with signals(), writing("the logs"):  # nothing of it is left
        signal.raise_signal(signal.SIGINT)


PHASES, SIGNALS = ("sampling", "meta-update", "evaluation"), (["SIGINT"], ["SIGINT", "SIGINT"], ["SIGTERM"])
STOPS = [  # each phase and each signal once; all of them are slow
    pytest.param(phase, signals, id="-".join([*signals, phase]), marks=[pytest.mark.slow] * (i != j))
    for i, phase in enumerate(PHASES)
    for j, signals in enumerate(SIGNALS)
]


@pytest.mark.parametrize(("phase", "signals"), STOPS)
def test_told_to_stop(phase, signals, tmp_path, observe):
    path = tmp_path / "run"
    arguments = [*SMALL, "--checkpoint-every", "1000", "--iterations", "1000", "--log-dir", str(path)]
    run = Command(arguments, tmp_path, partial(linger_in, phase))
    run.wait_for(f"in {phase}")
    for name in signals:
        run.send(name)
        time.sleep(0.05)
    status = 143 if "SIGTERM" in signals else 130
    assert run.end() == status, run.said
    saved, problems = RunDirectory(path).newest()
    assert not problems and not [file for file in path.rglob(".*")]
    twice = len(signals) == 2
    said = "stopped at once; what was saved stays" if twice else f"stopped by {signals[0]}; saved, --resume goes on"
    assert run.said == f"metarl: {said}\n"
    last = saved.state["iteration"]
    assert len(rows(path)) == last == (2 if twice else 3)
    name = f"{signals[0]}{' twice' if twice else ''}"
    observe(f"{name} in the {phase} of iteration 3", f"status {status}, `{run.said.strip()}`; checkpoint {last}")
