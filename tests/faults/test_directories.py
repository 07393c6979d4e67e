"""Run directories: nothing of others is replaced, two processes never share one, and what differs is told."""

import errno
import os
import shutil
import signal
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from processes import SMALL, Command

import metarl
from metarl import UserError
from metarl.cli.main import main
from metarl.experiment import checkpoint, directory
from metarl.experiment.directory import RunDirectory
from metarl.experiment.outputs import read_rows
from metarl.experiment.own_files import new_folder
from metarl.seeding import RANDOM_NUMBERS

TRAIN = [*SMALL, "--iterations", "2", "--log-dir"]


@pytest.fixture(scope="module")
def good_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "run"
    assert main([*TRAIN, str(path)]) == 0
    return path


@pytest.fixture
def run(good_run, tmp_path):
    """A run directory to spoil."""
    return shutil.copytree(good_run, tmp_path / "run")


def refused(arguments, capsys):
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("metarl: ") and said.count("\n") == 1, said
    return said


@pytest.mark.parametrize(
    "name",
    [
        "progress.csv",
        "config.json",
        "curve.json",
        "best.safetensors",
        "checkpoints/a",
        "events.out.tfevents.1.host.1.0",
    ],
)
def test_another_tools_folder_is_left_alone(name, tmp_path, capsys, observe):
    file = tmp_path / "theirs" / name
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    said = refused([*TRAIN, str(tmp_path / "theirs")], capsys)
    assert f"holds {name.split('/')[0]}, but no run of metarl; choose another --log-dir" in said
    assert file.read_text() == "{}" and len(list((tmp_path / "theirs").rglob("*"))) == 1 + name.count("/")
    with pytest.raises(UserError, match="but no run of metarl"):
        metarl.MAML("metarl/PointNavigation-v0", log_dir=tmp_path / "theirs")
    with pytest.raises(UserError, match="a run directory must have a name, got ''"):
        metarl.MAML("metarl/PointNavigation-v0", log_dir="")
    observe(f"a new run where another tool's {name} lies", f"status 2, `{said}`")


def test_a_run_that_is_going_on_is_not_resumed(tmp_path, capsys, observe):
    path = tmp_path / "run"
    first = Command([*SMALL, "--iterations", "100000", "--log-dir", str(path)], tmp_path)
    first.wait_for("iteration 3/")
    said = refused([*SMALL, "--resume", "--log-dir", str(path)], capsys)
    assert f"{str(path)!r} is in use by process {first.pid} on " in said
    assert "already holds a run" in refused([*SMALL, "--log-dir", str(path)], capsys)
    first.send("SIGTERM")
    assert first.end() == 143
    done = len(read_rows(path / "progress.csv"))
    assert not (path / "run.lock").exists()
    assert main([*SMALL, "--resume", "--log-dir", str(path), "--iterations", str(done + 1)]) == 0
    assert [row["time/iterations"] for row in read_rows(path / "progress.csv")] == list(range(1, done + 2))
    observe("--resume of a run that is going on", f"status 2, `{said}`")


def test_the_lock_dies_with_its_process(tmp_path, observe):
    path = tmp_path / "run"
    killed = Command([*SMALL, "--iterations", "100000", "--log-dir", str(path)], tmp_path)
    killed.wait_for("iteration 2/")
    killed.send("SIGKILL")
    assert killed.end() == -signal.SIGKILL and (path / "run.lock").exists()
    done = RunDirectory(path).newest()[0].state["iteration"]
    assert main([*SMALL, "--resume", "--log-dir", str(path), "--iterations", str(done + 1)]) == 0
    assert not (path / "run.lock").exists()
    observe("--resume after kill -9", "the dead process's lock keeps nobody out")


def test_two_models_of_one_process_share_no_directory(tmp_path):
    first = metarl.MAML("metarl/PointNavigation-v0", log_dir=tmp_path / "run", tasks=2, episodes=2, horizon=5)
    second = []

    class Meddle:
        def on_iteration(self, trainer, metrics):
            with pytest.raises(UserError, match="in use by another model or training of this process"):
                metarl.MAML(
                    "metarl/PointNavigation-v0", log_dir=tmp_path / "run", resume=True, tasks=2, episodes=2, horizon=5
                )
            second.append(1)

    first.learn(1, callbacks=[Meddle()])
    assert second
    other = metarl.load(tmp_path / "run", best=False)
    other.learn(1)
    with pytest.raises(UserError, match="has been trained further by others; load it again"):
        first.learn(1)
    other.learn(1)
    for model in (first, other):
        model.close()


def test_a_folder_that_could_not_be_opened_is_free_afterwards(tmp_path, monkeypatch):
    small = {"tasks": 2, "episodes": 2, "horizon": 4, "hidden": (4,)}
    opened, model = os.open, metarl.Model("metarl/PointNavigation-v0", **small, log_dir=tmp_path / "run")

    def too_many(path, *options, **more):
        if path == tmp_path / "run":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, *options, **more)

    with monkeypatch.context() as patched, pytest.raises(UserError, match="Too many open files"):
        patched.setattr(os, "open", too_many)
        model.learn(1)
    model.learn(1)


def test_an_interrupted_model_goes_on(tmp_path):
    model = metarl.MAML("metarl/PointNavigation-v0", log_dir=tmp_path / "run", tasks=2, episodes=2, horizon=5)

    class Stop:
        def on_iteration(self, trainer, metrics):
            if trainer.progress.iteration == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(metarl.experiment.signals.Interrupted):
        model.learn(3, callbacks=[Stop()])
    model.learn(1)
    model.close()
    assert [row["time/iterations"] for row in read_rows(tmp_path / "run" / "progress.csv")] == [1, 2, 3]


def stranger(run, name, iteration=7):
    """Put a checkpoint of another run there."""
    other = checkpoint.Checkpoint({"a": torch.ones(2)}, {}, {"iteration": iteration}, {}, "another")
    checkpoint.save(other, run / name)
    return (run / name).read_bytes()


def test_checkpoints_of_another_run_are_neither_read_nor_removed(run, capsys, observe):
    name = "checkpoints/iteration-000007.safetensors"
    data = stranger(run, name)
    said = refused([*TRAIN, str(run), "--resume"], capsys)
    assert f"{str(run / name)!r} is of another run; move it elsewhere" in said
    best, problems = RunDirectory(run).newest()
    assert best.state["iteration"] == 2 and "is of another run" in problems[0]
    data_best = stranger(run, "best.safetensors")
    assert RunDirectory(run).load_best()[0].state["iteration"] == 2
    RunDirectory(run).save(best, keep=1)
    assert (run / name).read_bytes() == data and (run / "best.safetensors").read_bytes() == data_best
    assert sorted(file.name for file in (run / "checkpoints").iterdir()) == [
        "iteration-000002.safetensors",
        "iteration-000007.safetensors",
    ]
    observe("another run's checkpoint among one's own", f"status 2, `{said}`; neither read nor removed")


def test_a_run_of_an_older_version_has_no_name_and_goes_on(run):
    record = RunDirectory(run).recorded()
    del record["run"], record["format"], record["random_numbers"]
    checkpoint.write_json(run / "config.json", record)
    for file in [*(run / "checkpoints").iterdir(), run / "best.safetensors"]:
        saved = checkpoint.load(file)
        checkpoint.save(checkpoint.Checkpoint(saved.params, saved.config, saved.state, saved.outer), file)
    assert main([*SMALL, "--log-dir", str(run), "--resume", "--iterations", "3"]) == 0
    assert RunDirectory(run).newest()[0].state["iteration"] == 3 and RunDirectory(run).run is None


@pytest.mark.parametrize(
    ("command", "harmed"),
    [
        (["analyse", "RUN", "--tasks", "2", "--out", "RUN/config.png"], "config.json"),
        (["analyse", "RUN", "--tasks", "2", "--out", "RUN/curve.png"], "curve.json"),
        (["eval", "RUN", "--tasks", "2", "--json", "RUN/config.json"], "config.json"),
        (["eval", "RUN", "--tasks", "2", "--json", "RUN/checkpoints/x.json"], "checkpoints/x.json"),
        (["eval", "RUN", "--figure", "RUN/progress.csv"], "progress.csv"),
        (["plot", "RUN", "--out", "link.png"], "link.png"),
        (["video", "RUN", "--out", "RUN/best.safetensors"], "best.safetensors"),
        (["export", "RUN", "--steps", "0", "--to", "sb3", "RUN/curve.json"], "curve.json"),
    ],
)
def test_outputs_never_replace_a_runs_own_files(command, harmed, run, tmp_path, capsys, observe):
    os.symlink(run / "config.json", "link.png")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    said = refused([part.replace("RUN", str(run)) for part in command], capsys)
    assert f"{harmed}' is a file of the run in {str(run)!r}; choose another name" in said
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    observe(" ".join(command), f"status 2, `{said}`")


def test_a_model_is_not_saved_over_a_run(run):
    model = metarl.load(run)
    with pytest.raises(UserError, match="is a file of the run"):
        model.save(run / "best.safetensors")
    with pytest.raises(UserError, match="is a file of the run"):
        model.export_sb3(run / "config.json")
    model.close()


def test_a_run_whose_checkpoints_were_removed_keeps_its_table(run, capsys):
    shutil.rmtree(run / "checkpoints")
    (run / "best.safetensors").unlink()
    before = (run / "progress.csv").read_bytes()
    assert "already holds a run" in refused([*TRAIN, str(run)], capsys)
    assert "holds no checkpoint to go on from" in refused([*TRAIN, str(run), "--resume"], capsys)
    assert (run / "progress.csv").read_bytes() == before


def test_runs_of_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "20300101-000000")
    made = [new_folder(tmp_path / "runs") for _ in range(3)]
    assert [path.name for path in made] == ["20300101-000000", "20300101-000000-2", "20300101-000000-3"]
    for _ in range(2):
        assert main([*TRAIN[:-1]]) == 0
    assert len(list((tmp_path / "runs" / "point-navigation").iterdir())) == 2


def test_versions_and_random_numbers_that_differ_are_told(run, capsys, monkeypatch, observe):
    monkeypatch.setattr(directory, "RANDOM_NUMBERS", directory.RANDOM_NUMBERS)
    record = RunDirectory(run).recorded()
    record["versions"]["numpy"], record["random_numbers"] = "1.0", 1
    checkpoint.write_json(run / "config.json", record)
    assert main([*SMALL, "--log-dir", str(run), "--resume", "--iterations", "3"]) == 0
    said = capsys.readouterr().out
    assert f"metarl: versions differ: numpy 1.0 -> {np.__version__}; " in said
    assert f"metarl: this version draws other random numbers (1 -> {RANDOM_NUMBERS})" in said
    assert main([*SMALL, "--log-dir", str(run), "--resume", "--iterations", "4"]) == 0
    assert "differ" not in capsys.readouterr().out
    observe("--resume under another numpy", "`metarl: versions differ: numpy 1.0 -> ...`, and the run goes on")


def test_a_newer_format_is_refused(run, capsys):
    record = RunDirectory(run).recorded() | {"format": 99}
    checkpoint.write_json(run / "config.json", record)
    assert "format 99 is newer than this version of metarl" in refused(["plot", str(run)], capsys)


def test_a_pipe_is_no_checkpoint(tmp_path, capsys):
    os.mkfifo(tmp_path / "x.safetensors")
    assert "is not a regular file" in refused(["eval", str(tmp_path / "x.safetensors")], capsys)


def test_checkpoints_of_other_kinds_of_numbers(run, tmp_path, capsys):
    saved = RunDirectory(run).newest()[0]
    for dtype in (torch.float16, torch.bfloat16, torch.int64, torch.complex64):
        params = {name: value.to(dtype) for name, value in saved.params.items()}
        if dtype is torch.bfloat16:
            (tmp_path / "odd.safetensors").write_bytes(safetensors.torch.save(params))
        else:
            checkpoint.save(
                checkpoint.Checkpoint(params, saved.config, saved.state, saved.outer), tmp_path / "odd.safetensors"
            )
        said = refused(["eval", str(tmp_path / "odd.safetensors"), "--tasks", "2"], capsys)
        assert "is damaged" in said or f"network log_std [2] of {str(dtype)[6:]}" in said
