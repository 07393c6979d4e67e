"""What happens outside: a terminal that closes, a reader that stops reading, a full or narrow output."""

import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from processes import SMALL, Command

import metarl
from metarl import UserError
from metarl.experiment.directory import RunDirectory
from metarl.experiment.outputs import read_rows
from metarl.outer import PPO, TRPO, Adam, Interpolation

RUN = [sys.executable, "-c", "import torch; torch.set_num_threads(1); from metarl.cli import run; run()"]


def started(arguments, **how):
    how = {"stderr": subprocess.PIPE, "text": True, **how}
    return subprocess.Popen([*RUN, *arguments], env={**os.environ, **how.pop("env", {})}, **how)


def test_a_hangup_saves(tmp_path, observe):
    path = tmp_path / "run"
    options = ["--checkpoint-every", "100000", "--iterations", "100000", "--log-dir", str(path)]
    run = Command([*SMALL[:-2], *options], tmp_path)
    run.wait_for("iteration 3/")
    run.send("SIGHUP")
    assert run.end() == 129 and run.said == "metarl: stopped by SIGHUP; saved, --resume goes on\n"
    assert RunDirectory(path).newest()[0].state["iteration"] == len(read_rows(path / "progress.csv")) >= 3
    observe("SIGHUP", f"status 129, `{run.said.strip()}`")


def test_a_terminal_that_closes(tmp_path, observe):
    """The real thing: a session whose terminal goes away, so that writing fails too."""
    path = tmp_path / "run"
    pid, terminal = pty.fork()
    if not pid:
        os.execv(
            sys.executable,
            [*RUN, *SMALL[:-2], "--checkpoint-every", "100000", "--iterations", "100000", "--log-dir", str(path)],
        )
    end = time.time() + 90
    while time.time() < end and len(read_rows(path / "progress.csv")) < 3:
        os.read(terminal, 65536)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert RunDirectory(path).newest()[0].state["iteration"] == len(read_rows(path / "progress.csv")) >= 3
    observe("the terminal of a run is closed", "status 129; all iterations done are saved")


def test_nobody_reads_on(tmp_path, observe):
    path = tmp_path / "run"
    with started([*SMALL, "--iterations", "100000", "--log-dir", str(path)], stdout=subprocess.PIPE) as run:
        assert run.stdout.readline().startswith("point-navigation")
        run.stdout.close()
        said = run.stderr.read()
    assert run.returncode == 2
    assert said == "metarl: nobody reads standard output any more; the run stopped and is saved, --resume goes on\n"
    assert RunDirectory(path).newest()[0].state["iteration"] == len(read_rows(path / "progress.csv"))
    observe("metarl train | head -1", f"status 2, `{said.strip()}`")


def test_a_reader_that_is_gone_costs_no_evaluation(tmp_path):
    run, out = tmp_path / "run", tmp_path / "curve.json"
    assert Command([*SMALL, "--iterations", "1", "--log-dir", str(run)], tmp_path).end() == 0
    evaluation = started(["eval", str(run), "--tasks", "2", "--json", str(out)], stdout=subprocess.PIPE)
    evaluation.stdout.close()
    evaluation.communicate(timeout=120)
    assert evaluation.returncode in (1, 2) and "per_task" in out.read_text()


def test_no_standard_output_at_all(tmp_path):
    path = tmp_path / "run"
    command = " ".join([*RUN[:2], repr(RUN[2]), *SMALL, "--iterations", "2", "--log-dir", str(path), ">&-"])
    assert subprocess.run(["sh", "-c", command], capture_output=True, timeout=120).returncode == 0
    assert len(read_rows(path / "progress.csv")) == 2


def test_a_folder_whose_name_is_no_text(tmp_path):
    run = started([*SMALL, "--iterations", "1", "--log-dir", os.fsencode(tmp_path) + b"/\xff"])
    _, said = run.communicate(timeout=120)
    assert run.returncode == 2 and said.startswith("metarl: the name of a run directory must be UTF-8")


def with_full_output():
    """Have a full device as standard output."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    sys.stdout = os.fdopen(1, "w", closefd=False)


@pytest.mark.parametrize(
    "arguments", [["presets"], [*SMALL, "--iterations", "1", "--log-dir", "run"]], ids=["presets", "train"]
)
def test_output_is_full(arguments, tmp_path, observe):
    run = Command(arguments, tmp_path, with_full_output)
    assert run.end() == 2
    assert run.said.startswith("metarl: cannot write to standard output") and run.said.count("\n") == 1
    observe(f"metarl {arguments[0]} > /dev/full", f"status 2, `{run.said.strip()}`")


def with_a_narrow_ascii_terminal():
    """Have a terminal of one column that knows ASCII alone."""
    os.environ["COLUMNS"] = "1"
    sys.stdout = os.fdopen(1, "w", encoding="ascii", closefd=False)


def test_a_terminal_of_one_column_that_knows_ascii_alone(tmp_path, observe):
    run = Command(["train", "--help"], tmp_path, with_a_narrow_ascii_terminal)
    assert run.end() == 0 and not run.said and "--inner-lr" in run.out.read_text()
    observe("train --help in one column and ASCII", "the help, for 40 columns")


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: metarl.methods.MAML(inner_lr=np.float32(0.5)), "inner_lr", 0.5),
        (lambda: metarl.methods.ANIL(inner_steps=np.int64(2)), "inner_steps", 2),
        (lambda: metarl.methods.Reptile(inner_lr=np.float64(0.25)), "inner_lr", 0.25),
        (lambda: metarl.methods.ProMP(inner_kl_target=np.array(0.5)), "inner_kl_target", 0.5),
        (lambda: metarl.methods.RL2(lifetime=np.int32(3)), "lifetime", 3),
        (lambda: metarl.methods.EMAML(exploration=1), "exploration", 1.0),
        (lambda: TRPO(max_kl=np.float32(0.5)), "max_kl", 0.5),
        (lambda: PPO(epochs=np.uint8(2)), "epochs", 2),
        (lambda: Adam(outer_lr=np.float16(0.5)), "outer_lr", 0.5),
        (lambda: Interpolation(step_size=1), "step_size", 1.0),
    ],
)
def test_settings_become_plain_values(make, name, value):
    found = getattr(make(), name)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: metarl.methods.MAML(inner_lr="fast"),
        lambda: metarl.methods.MAML(first_order=2),
        lambda: TRPO(cg_iterations=2.5),
        lambda: PPO(clip=np.array([0.1, 0.2])),
        lambda: Adam(outer_lr=None),
        lambda: metarl.MAML("metarl/PointNavigation-v0", seed=2**64),
    ],
)
def test_settings_of_other_kinds_are_refused_at_once(make):
    with pytest.raises(UserError, match="must be"):
        make()


def test_what_learn_took_save_takes(tmp_path):
    sizes = {"tasks": np.int64(3), "episodes": np.int16(2), "horizon": np.uint8(5), "hidden": np.array([4])}
    method = metarl.methods.MAML(inner_lr=np.float32(0.5), outer=TRPO(max_kl=np.float32(0.25)))
    model = metarl.Model("metarl/PointNavigation-v0", method=method, init_std=np.float32(0.5), **sizes).learn(1)
    model.save(tmp_path / "model")
    again = metarl.load(tmp_path / "model")
    assert again.config == model.config and again.config.hidden == (4,)
    for one in (model, again):
        one.close()


def test_a_closed_terminal_is_ignored_under_nohup_by_several_seeds_too(tmp_path):
    command = [*SMALL, "--iterations", "40", "--seeds", "2", "--log-dir", str(tmp_path / "seeds")]
    run = started(command, stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert run.stdout is not None and "2 seeds" in run.stdout.readline()
    while not (tmp_path / "seeds" / "seed-0" / "train.log").exists():  # by then signals are handled
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGHUP)
    said, wrong = run.communicate(timeout=120)
    assert run.returncode == 0, wrong
    assert said.count("iteration 40/40") == 2
