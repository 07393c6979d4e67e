"""Run directories that move, vanish or were never begun: a run says so, or goes on where it was."""

import os
import shutil
import signal

import pytest
from processes import SMALL, Command
from stable_baselines3.common.logger import KVWriter

import metarl
from metarl import UserError
from metarl.cli.main import main
from metarl.experiment import checkpoint
from metarl.experiment.directory import RunDirectory
from metarl.experiment.outputs import read_rows

TRAIN = [*SMALL, "--iterations", "2", "--log-dir"]


def test_an_environment_may_change_the_folder(tmp_path, monkeypatch):
    from broken_envs import Line

    (tmp_path / "elsewhere").mkdir()

    class Wanders(Line):
        def reset(self, **kwargs):
            os.chdir(tmp_path / "elsewhere")
            return super().reset(**kwargs)

    monkeypatch.chdir(tmp_path)
    model = metarl.MAML(Wanders, tasks=2, episodes=1, horizon=5, hidden=(4,), log_dir="run", checkpoint_every=1)
    model.learn(2)
    model.close()
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "run"] and not os.listdir(tmp_path / "elsewhere")
    assert RunDirectory(tmp_path / "run").newest()[0].state["iteration"] == 2


def test_a_run_that_is_moved_stops_whole(tmp_path, observe):
    path, other = tmp_path / "run", tmp_path / "other"
    run = Command([*SMALL, "--iterations", "100000", "--log-dir", str(path)], tmp_path)
    run.wait_for("iteration 3/")
    path.rename(other)
    assert run.end() == 2 and run.said.count("\n") == 1, run.said
    assert f"{str(path)!r} was moved to {str(other)!r} during the run" in run.said
    assert not path.exists()
    done = RunDirectory(other).newest()[0].state["iteration"]
    rows = [row["time/iterations"] for row in read_rows(other / "progress.csv")]
    assert rows in (list(range(1, done + 1)), list(range(1, done + 2)))  # a row is written before its checkpoint
    assert main([*SMALL, "--resume", "--log-dir", str(other), "--iterations", str(done + 1)]) == 0
    assert [row["time/iterations"] for row in read_rows(other / "progress.csv")] == list(range(1, done + 2))
    observe("mv of a run that is going on", f"status 2, `{run.said}`")


def test_a_run_that_is_moved_while_it_is_logged_is_not_begun_anew_where_it_was(tmp_path):
    path, other = tmp_path / "run", tmp_path / "other"

    class Moves(KVWriter):
        """Moves the run before the table, which gets new columns at the evaluation, is written."""

        def write(self, key_values, key_excluded, step=0):
            if "eval/return_step0" in key_values:
                path.rename(other)

        def close(self):
            pass

    sizes = {"tasks": 2, "episodes": 2, "horizon": 5, "hidden": (4,), "eval_tasks": 2, "eval_every": 3}
    model = metarl.MAML("metarl/PointNavigation-v0", log_dir=path, **sizes)
    with pytest.raises(UserError, match=f"{path}' was moved to '{other}' during the run"):
        model.learn(5, outputs=[Moves()])
    assert not path.exists()
    found = RunDirectory(other)
    done = found.newest()[0].state["iteration"]
    assert [row["time/iterations"] for row in read_rows(other / "progress.csv")][:done] == list(range(1, done + 1))


def test_a_run_that_is_removed_stops(tmp_path, observe):
    path = tmp_path / "run"
    run = Command([*SMALL, "--iterations", "100000", "--log-dir", str(path)], tmp_path)
    run.wait_for("iteration 3/")
    path.rename(tmp_path / "gone")  # at once: a removal file by file meets files that are written meanwhile
    shutil.rmtree(tmp_path / "gone", ignore_errors=True)
    assert run.end() == 2 and run.said.count("\n") == 1, run.said
    assert not path.exists()
    observe("rm -r of a run that is going on", f"status 2, `{run.said}`")


@pytest.mark.parametrize("name", ["progress.csv", "config.json", "checkpoints"])
def test_a_run_whose_files_vanish_is_not_called_done(name, tmp_path):
    model = metarl.MAML("metarl/PointNavigation-v0", log_dir=tmp_path / "run", tasks=2, episodes=2, horizon=5)

    class Remove:
        def on_end(self, trainer):
            victim = tmp_path / "run" / name
            shutil.rmtree(victim) if victim.is_dir() else victim.unlink()

    with pytest.raises(UserError, match=rf"{name} of .*run' vanished during the run"):
        model.learn(1, callbacks=[Remove()])
    model.close()


def begin_and_die():
    """Die when the logs are open and no checkpoint is written yet."""
    checkpoint.save = lambda *args: os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("again", [[], ["--resume"]], ids=["anew", "resumed"])
@pytest.mark.parametrize("stage", ["before checkpoint 0", "before config.json"])
def test_a_run_that_never_began_begins(stage, again, tmp_path, observe):
    path = tmp_path / "run"
    if stage == "before config.json":
        path.mkdir()
        (path / ".config.json.12.tmp").write_text("{")
    else:
        killed = Command([*TRAIN, str(path)], tmp_path, begin_and_die)
        assert killed.end() == -signal.SIGKILL
        assert (path / "progress.csv").exists() and not RunDirectory(path).checkpoints()
    run = Command([*TRAIN, str(path), *again], tmp_path)
    assert run.end() == 0, run.said
    assert len(read_rows(path / "progress.csv")) == 2
    observe(f"killed {stage}, then {' '.join(again) or 'the same command'}", "the run begins, status 0")
