"""Tables and TensorBoard after a run was cut off: no overlap, no gap, and what is half written is passed over."""

import csv
import sys
import threading

import pytest
from processes import SMALL
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_stops import assert_same

import metarl
from metarl import UserError
from metarl.cli import main
from metarl.experiment.directory import RunDirectory
from metarl.experiment.outputs import read_rows
from metarl.experiment.terminal import Terminal


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    assert main([*SMALL, "--iterations", "6", "--log-dir", str(path)]) == 0
    return path


@pytest.fixture
def cut(tmp_path):
    """A run of which the last checkpoint is that of iteration 4, while its logs are of 5."""
    path = tmp_path / "run"
    assert main([*SMALL, "--iterations", "5", "--log-dir", str(path)]) == 0
    RunDirectory(path).checkpoints()[-1].unlink()
    return path


def test_logs_cut_in_the_middle_of_a_record(whole, cut, tmp_path, capsys, observe):
    events = next(cut.glob("events.*"))
    for file, lost in ((cut / "progress.csv", 9), (events, 5)):
        file.write_bytes(file.read_bytes()[:-lost])
    assert len(read_rows(cut / "progress.csv")) == 4
    assert main(["plot", str(cut), "--out", str(tmp_path / "cut.png")]) == 0
    events.rename(events.with_name("events.out.tfevents.0000000001.host.1.0"))  # older than what comes now
    assert main([*SMALL, "--iterations", "6", "--log-dir", str(cut), "--resume"]) == 0
    assert_same(cut, whole)
    assert len(list(cut.glob("events.*"))) == 2
    observe(
        "progress.csv and events cut in their last record", "both read; resumed, equal to those of a run never stopped"
    )


def test_seconds_and_counts_go_on(cut):
    before = read_rows(cut / "progress.csv")
    assert main([*SMALL, "--iterations", "6", "--log-dir", str(cut), "--resume", "--log-every", "2"]) == 0
    rows = read_rows(cut / "progress.csv")
    assert [row["time/iterations"] for row in rows] == [1, 2, 3, 4, 6]
    seconds = [row["time/total_seconds"] for row in rows]
    assert seconds[:4] == [row["time/total_seconds"] for row in before[:4]]
    last = rows[-1]["time/sampling_seconds"] + rows[-1]["time/meta_update_seconds"]
    assert seconds[-1] > seconds[-2] + last * 0.999  # iteration 5, which was not logged, counts
    assert RunDirectory(cut).newest()[0].state["seconds"] == pytest.approx(seconds[-1])


def test_a_table_damaged_in_the_middle_is_named(cut, capsys):
    lines = (cut / "progress.csv").read_text().splitlines(keepends=True)
    (cut / "progress.csv").write_text("".join([lines[0], lines[1][:20] + "\n", *lines[2:]]))
    with pytest.raises(UserError, match=r"progress.csv' is damaged"):
        read_rows(cut / "progress.csv")
    for arguments in (["plot", str(cut)], [*SMALL, "--log-dir", str(cut), "--resume", "--iterations", "6"]):
        capsys.readouterr()
        assert main(arguments) == 2
        assert "is damaged" in (said := capsys.readouterr().err) and said.count("\n") == 1


def test_what_fails_as_the_logs_open_leaves_the_process_as_it_was(cut):
    lines = (cut / "progress.csv").read_text().splitlines(keepends=True)
    (cut / "progress.csv").write_text("".join([lines[0], lines[1][:20] + "\n", *lines[2:]]))
    model, hook, out = metarl.load(cut), threading.excepthook, sys.stdout
    with pytest.raises(UserError, match="is damaged"):
        model.learn(1, outputs=[Terminal(6, "run", Console(force_terminal=True))])
    model.close()
    assert threading.excepthook is hook and sys.stdout is out


def test_every_prefix_of_a_table_reads(cut):
    text = (cut / "progress.csv").read_text()
    full = read_rows(cut / "progress.csv")
    for length in range(0, len(text), 37):
        (cut / "progress.csv").write_text(text[:length])
        rows = read_rows(cut / "progress.csv")
        assert rows == full[: len(rows)]
        assert len(rows) == max(text[:length].count("\n") - 1, 0)


def test_every_prefix_of_the_events_reads(cut, tmp_path):
    events = next(cut.glob("events.*"))
    data, full = events.read_bytes(), None
    for length in (len(data), len(data) - 1, len(data) - 30, len(data) - 3000):
        (tmp_path / "part").mkdir(exist_ok=True)
        (tmp_path / "part" / events.name).write_bytes(data[:length])
        accumulator = EventAccumulator(str(tmp_path / "part"))
        accumulator.Reload()
        steps = [event.step for event in accumulator.Scalars("meta/return_step1")]
        full = full or steps
        assert steps == full[: len(steps)] and len(steps) >= 2
    with open(cut / "progress.csv", newline="") as file:
        assert full == [int(row["time/total_timesteps"]) for row in csv.DictReader(file)]


def test_a_table_that_is_gone_is_said_to_be(cut, capsys):
    (cut / "progress.csv").unlink()
    assert main([*SMALL, "--log-dir", str(cut), "--resume", "--iterations", "6"]) == 0
    assert "metarl: progress.csv is gone, and begins anew; going on from iteration 4" in capsys.readouterr().out
    assert len(read_rows(cut / "progress.csv")) == 2


def test_a_run_of_another_method_is_not_gone_on_with(cut, capsys):
    assert main([*SMALL, "--method", "rl2", "--log-dir", str(cut), "--resume"]) == 2
    assert capsys.readouterr().err == f"metarl: cannot resume {cut}: it is a run of maml, not of rl2\n"
