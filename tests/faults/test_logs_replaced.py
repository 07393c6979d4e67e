"""Tables are replaced whole, and TensorBoard reads in order, whatever the clock says."""

import os
import signal
from functools import partial

import pytest
from processes import SMALL, Command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metarl.cli.main import main
from metarl.experiment import checkpoint
from metarl.experiment.outputs import Table, read_rows


def die_when_the_table_gets_columns(moment):
    """Die while the table is written for the second time: the first evaluation brings new columns."""
    write, replace, tables = checkpoint.write_atomically, os.replace, 0

    def write_and_die(path, data, **how):
        nonlocal tables
        tables += path.name == "progress.csv" and bool(data)
        write(path, data, **how)

    def replace_and_die(source, target):
        if str(target).endswith("progress.csv") and tables == 2:
            if moment == "after":
                replace(source, target)
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    checkpoint.os.replace = replace_and_die
    from metarl.experiment import outputs

    outputs.write_atomically = write_and_die


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_the_table_gets_new_columns(moment, tmp_path, observe):
    path = tmp_path / "run"
    command = [*SMALL, "--iterations", "4", "--log-dir", str(path)]
    killed = Command(command, tmp_path, partial(die_when_the_table_gets_columns, moment))
    assert killed.end() == -signal.SIGKILL, killed.said
    rows = read_rows(path / "progress.csv")
    assert len(rows) == (2 if moment == "before" else 3)
    assert main([*command, "--resume"]) == 0
    rows = read_rows(path / "progress.csv")
    assert [row["time/iterations"] for row in rows] == [1, 2, 3, 4]
    assert "eval/return_step0" in rows[2] and "eval/return_step0" not in rows[1]
    observe(f"kill -9 {moment} progress.csv is replaced by one with new columns", "resumed, no row is missing")


def test_a_table_takes_any_columns_and_values(tmp_path):
    table = Table(tmp_path / "t.csv", 0)
    written = [
        {"b": 1, "time/total_timesteps": 1},
        {'a,"c': 2.5, "time/total_timesteps": 2},
        {"b": float("inf"), 'a,"c': -1},
    ]
    for row in written:
        table.write(row, {name: () for name in row})
    table.close()
    assert read_rows(tmp_path / "t.csv") == written
    again = Table(tmp_path / "t.csv", 1)
    again.close()
    assert read_rows(tmp_path / "t.csv") == written[:1]


@pytest.mark.parametrize("stamp", ["9999999999", None], ids=["a day back", "the same second"])
def test_the_clock_is_set_back(stamp, tmp_path, observe):
    path = tmp_path / "run"
    command = [*SMALL, "--log-dir", str(path)]
    assert main([*command, "--iterations", "3", "--checkpoint-every", "1000"]) == 0
    for file in (path / "checkpoints").glob("*3.safetensors"):
        file.unlink()  # so that all is done again, and must replace what was logged
    (old,) = path.glob("events.*")
    later = (
        old.name.replace(".out.tfevents.", ".out.tfevents.9") if stamp is None else f"events.out.tfevents.{stamp}.h.1.0"
    )
    old.rename(path / later)
    assert main([*command, "--iterations", "5", "--resume"]) == 0
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    steps = [event.step for event in accumulator.Scalars("meta/return_step0")]
    assert steps == sorted(set(steps)) and len(steps) == 5
    observe("--resume after the clock was set back", "TensorBoard shows each point once, in order")
