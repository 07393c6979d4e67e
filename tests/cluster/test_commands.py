"""`metarl train --workers ...` as a program: quiet, stopped by signals, and nothing left behind."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from cluster_rules import RULES

from metarl.cli import main
from metarl.experiment.directory import RunDirectory

pytest.importorskip("ray", reason="Ray is not installed")

SMALL = "--tasks 4 --episodes 4 --horizon 10 --eval-tasks 3 --eval-episodes 2 --checkpoint-every 2".split()
ENDLESS = "--iterations 1000000 --eval-every 1000000".split()


def command(workers, *options):
    program = [sys.executable, "-c", "from metarl.cli import run; run()", "train", "point-navigation"]
    return [*program, "--workers", str(workers), *SMALL, *options]


def started(workers, log_dir, **more):
    """A run that has done three iterations and saved two, in a process group of its own as a terminal gives it."""
    run = subprocess.Popen(
        command(workers, *ENDLESS, "--log-dir", str(log_dir)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **more},
    )  # fmt: skip
    while "iteration 3/" not in (line := run.stdout.readline()):
        assert line, run.stderr.read()
    return run


def descendants(pid):
    """Every process below one, as (pid, start time)."""
    found, below = {pid}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        below.setdefault(int(fields[1]), []).append((int(stat.parent.name), fields[19]))
    processes, queue = [], [pid]
    while queue:
        children = [child for child in below.get(queue.pop(), []) if child[0] not in found]
        found |= {child[0] for child in children}
        processes += children
        queue += [child[0] for child in children]
    return processes


def alive(process):
    try:
        fields = Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z" and fields[19] == process[1]


def command_line(pid):
    """What a process was started with; nothing, if it has ended meanwhile."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def assert_all_end(processes, seconds):
    assert len(processes) > 3
    limit = time.monotonic() + seconds
    while any(alive(process) for process in processes):
        left = [command_line(pid)[:80] for pid, _ in processes if alive((pid, _))]
        assert time.monotonic() < limit, left
        time.sleep(0.2)


@pytest.mark.slow  # Ray takes long to start on a busy machine
def test_ctrl_c_ends_a_run_as_without_ray(tmp_path):
    run = started(2, tmp_path / "run")
    processes = descendants(run.pid)
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 130
    assert said == "metarl: stopped by SIGINT; saved, --resume goes on\n"
    saved, _ = RunDirectory(tmp_path / "run").newest()
    with open(tmp_path / "run" / "progress.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == saved.state["iteration"] >= 2
    assert_all_end(processes, 60)


@pytest.mark.slow
def test_sigterm_too(tmp_path):
    run = started(2, tmp_path / "run")
    run.terminate()
    _, said = run.communicate(timeout=120)
    assert (run.returncode, said) == (143, "metarl: stopped by SIGTERM; saved, --resume goes on\n")


def test_sigterm_while_ray_starts(tmp_path):
    run = subprocess.Popen(
        command(2, *ENDLESS, "--log-dir", str(tmp_path / "run")),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not any("gcs_server" in command_line(pid) for pid, _ in descendants(run.pid)):
        assert run.poll() is None
    processes = descendants(run.pid)
    run.terminate()
    _, said = run.communicate(timeout=60)
    assert run.returncode == 143 and "Traceback" not in said
    end = time.time() + 30
    while any(map(alive, processes)):
        assert time.time() < end, "processes are left"
        time.sleep(0.1)


def test_a_folder_whose_name_is_too_long_for_sockets(tmp_path):
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    run = subprocess.run(
        command(2, "--log-dir", str(tmp_path / "run")),
        env={**os.environ, "RAY_TMPDIR": str(folder)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 2 and run.stderr.count("\n") == 1, run.stderr
    assert f"Ray cannot start in the folder {str(folder)!r} (RAY_TMPDIR)" in run.stderr
    assert "AF_UNIX path length cannot exceed 107 bytes" in run.stderr


@pytest.mark.slow
def test_a_killed_driver_leaves_a_checkpoint_and_no_processes(tmp_path):
    run = started(2, tmp_path / "run")
    processes = descendants(run.pid)
    run.kill()
    run.communicate()
    assert_all_end(processes, 180)
    done = RunDirectory(tmp_path / "run").newest()[0].state["iteration"]
    assert done >= 2
    options = ["--resume", "--iterations", str(done + 2), "--workers", "local"]
    assert main(["train", "point-navigation", *options, "--log-dir", str(tmp_path / "run")]) == 0
    assert RunDirectory(tmp_path / "run").newest()[0].state["iteration"] == done + 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray leaves two log files open
def test_a_cluster_by_address(tmp_path):
    """Once as a client from elsewhere, once from a node of the cluster: the same run, and quiet."""
    from ray.cluster_utils import Cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = Cluster(initialize_head=True, head_node_args={**RULES, "num_cpus": 3, "ray_client_server_port": port})
    runs = []
    try:
        for workers in (f"ray://127.0.0.1:{port}", "auto"):
            options = command(workers, "--iterations", "2", "--log-dir", str(tmp_path / workers[:4]))
            where = {**os.environ, "RAY_ADDRESS": cluster.address}
            done = subprocess.run(options, capture_output=True, text=True, timeout=300, env=where)
            assert (done.returncode, done.stderr) == (0, "")
            assert "ray" not in done.stdout.replace(workers[:4], "").lower()
            runs.append(RunDirectory(tmp_path / workers[:4]).newest()[0].params)
    finally:
        cluster.shutdown()
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
