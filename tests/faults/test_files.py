"""Files that somebody else made: nothing in them is run, read or written anywhere else."""

import dataclasses
import io
import json
import os
import pickle
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from processes import SMALL

import metarl
from metarl import UserError
from metarl.cli import main
from metarl.experiment import checkpoint
from metarl.experiment.directory import RunDirectory

TRAIN = [*SMALL, "--iterations", "2"]


@pytest.fixture(scope="module")
def good_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "run"
    assert main([*TRAIN, "--log-dir", str(path)]) == 0
    return path


@pytest.fixture
def run(good_run, tmp_path):
    """A run directory to spoil."""
    return shutil.copytree(good_run, tmp_path / "run")


class Evil:
    """What unpickling it would run."""

    def __reduce__(self):
        return os.mkdir, ("it-was-run",)


def payloads():
    archive, array = io.BytesIO(), io.BytesIO()
    torch.save({"params": Evil()}, archive)
    np.save(array, np.array([Evil()], dtype=object), allow_pickle=True)
    return {"pickle": pickle.dumps(Evil()), "torch": archive.getvalue(), "numpy": array.getvalue()}


NEWEST = "checkpoints/iteration-000002.safetensors"
COMMANDS = {
    NEWEST: ["eval", "RUN/" + NEWEST],
    "best.safetensors": ["eval", "RUN/best.safetensors"],
    "config.json": ["eval", "RUN"],
    "progress.csv": ["plot", "RUN"],
    "curve.json": ["plot", "RUN"],
}


def said_by(arguments, path, capsys):
    capsys.readouterr()
    assert main([argument.replace("RUN", str(path)) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("metarl: ") and said.count("\n") == 1
    return said


@pytest.mark.parametrize("kind", ["pickle", "torch", "numpy"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_pickle_is_refused_and_not_run(name, kind, run, capsys, observe):
    (run / name).write_bytes(payloads()[kind])
    said = said_by(COMMANDS[name], run, capsys)
    assert "damaged" in said and str(run / name) in said
    assert not os.path.exists("it-was-run")
    if kind == "pickle":
        observe(
            f"a malicious pickle as {name}",
            f"not run; status 2, `{said.replace(str(run.parent), 'DIR')[:90].strip()}...`",
        )


@pytest.mark.parametrize("name", ["config.json", NEWEST])
def test_resuming_runs_no_pickle(name, run, capsys):
    for file in run.glob("checkpoints/*"):
        if name == NEWEST:
            file.write_bytes(pickle.dumps(Evil()))
    if name != NEWEST:
        (run / name).write_bytes(pickle.dumps(Evil()))
    said_by([*TRAIN, "--log-dir", "RUN", "--resume"], run, capsys)
    assert not os.path.exists("it-was-run")


def test_a_benchmark_runs_no_pickle(tmp_path, capsys):
    folder = tmp_path / "bench" / "random-seed0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_bytes(pickle.dumps(Evil()))
    said = said_by(["benchmark", "point-navigation", "--methods", "random", "--out", "RUN"], folder.parent, capsys)
    assert "damaged" in said and not os.path.exists("it-was-run")


@pytest.mark.parametrize("name", ["progress.csv", "curve.json", "config.json", "best.safetensors", NEWEST])
@pytest.mark.parametrize("target", ["absolute", "relative"])
def test_links_lead_nowhere(name, target, run, tmp_path, capsys, observe):
    outside = tmp_path / "outside"
    os.rename(run / name, outside)
    before = outside.read_bytes()
    (run / name).symlink_to(outside if target == "absolute" else os.path.relpath(outside, (run / name).parent))
    for arguments in (["eval", "RUN"], ["plot", "RUN"], [*TRAIN, "--log-dir", "RUN", "--resume", "--iterations", "3"]):
        said = said_by(arguments, run, capsys)
        assert "is a link" in said and str(run / name) in said
    assert outside.read_bytes() == before
    if target == "absolute":
        observe(f"{name} is a link to a file outside", f"status 2, `{said}`")


def test_a_folder_of_checkpoints_elsewhere_is_not_written(run, tmp_path, capsys):
    os.rename(run / "checkpoints", tmp_path / "outside")
    (run / "checkpoints").symlink_to(tmp_path / "outside")
    assert "is a link" in said_by([*TRAIN, "--log-dir", "RUN", "--resume", "--iterations", "3"], run, capsys)
    assert len(list((tmp_path / "outside").iterdir())) == 3


def test_a_new_run_does_not_follow_links(tmp_path, capsys):
    folder, outside = tmp_path / "new", tmp_path / "outside"
    folder.mkdir()
    outside.write_text("precious")
    (folder / "progress.csv").symlink_to(outside)
    assert "holds progress.csv, but no run of metarl" in said_by([*TRAIN, "--log-dir", "RUN"], folder, capsys)
    assert outside.read_text() == "precious"


def test_a_pipe_does_not_make_us_wait(run, capsys):
    (run / "curve.json").unlink()
    os.mkfifo(run / "curve.json")
    assert "is a link or a device" in said_by(["plot", "RUN"], run, capsys)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "../point-navigation", "/etc/passwd", "."])
def test_names_of_pretrained_policies_are_no_paths(name, capsys):
    assert "no pretrained policy" in said_by(["eval", f"pretrained:{name}"], "", capsys)


def test_tensor_names_are_no_paths(tmp_path):
    params = {"../../escaped": torch.zeros(2), "/tmp/escaped": torch.ones(1)}
    checkpoint.save(checkpoint.Checkpoint(params, {}, {}), tmp_path / "a" / "b" / "odd.safetensors")
    assert list(checkpoint.load(tmp_path / "a" / "b" / "odd.safetensors").params) == list(params)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["odd.safetensors"]


@pytest.mark.parametrize("env", ["own_module:Own-v0", "own_module:metarl/PointNavigation-v0", "own_module:main"])
def test_a_configuration_makes_nobody_import_code(env, run, tmp_path, capsys, monkeypatch, observe):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_module.py").write_text("import os\nos.mkdir('it-was-run')\n")
    record = json.loads((run / "config.json").read_text())
    record["config"]["env"] = env
    (run / "config.json").write_text(json.dumps(record))
    for file in [*RunDirectory(run).checkpoints(), run / "best.safetensors"]:
        saved = checkpoint.load(file)
        checkpoint.save(dataclasses.replace(saved, config=record["config"]), file)
    for command in ("eval", "video", "analyse"):
        said = said_by([command, "RUN"], run, capsys)
        assert f"the env {env}, and nothing is imported because a file says so" in said
    said_by([*TRAIN, "--log-dir", "RUN", "--resume"], run, capsys)
    with pytest.raises(UserError):
        metarl.load(run)
    assert not os.path.exists("it-was-run")
    observe(f"config.json says env {env}", f"not imported; status 2, `{said}`")


def test_a_flipped_bit_is_said_and_the_checkpoint_before_used(run, capsys, observe):
    newest = run / NEWEST
    data = bytearray(newest.read_bytes())
    data[-3] ^= 4
    newest.write_bytes(data)
    assert main([*TRAIN, "--log-dir", str(run), "--resume", "--iterations", "3"]) == 0
    (said,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("metarl: "))
    assert "its checksum does not match" in said and "going on from iteration 1" in said
    observe("a bit of the newest checkpoint is flipped", f"`{said}`")


def test_checkpoints_of_tomorrow_are_refused(run, capsys, monkeypatch, observe):
    saved = checkpoint.load(run / NEWEST)
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    checkpoint.save(saved, run / NEWEST)
    monkeypatch.undo()
    said = said_by([*TRAIN, "--log-dir", "RUN", "--resume"], run, capsys)
    assert "has format 2; this version of metarl reads up to 1" in said
    observe("a checkpoint of a newer format", f"status 2, `{said}`")


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        (["--hidden", "9"], "hidden: [8] -> [9]"),
        (["--inner-lr", "0.3", "--tasks", "4"], "method.inner_lr: 0.5 -> 0.3, tasks: 3 -> 4"),
        (["--env", "metarl/SparseNavigation-v0"], "not of metarl/SparseNavigation-v0"),
        (["--env-options", "goal_range", "0.4"], "env_options.goal_range: None -> 0.4"),
        (["--method", "fomaml"], "it is a run of maml, not of fomaml"),
    ],
)
def test_resuming_what_differs_lists_the_differences(options, differs, run, capsys, observe):
    said = said_by(["train", "point-navigation", "--log-dir", "RUN", "--resume", *options], run, capsys)
    assert differs in said
    observe(f"resumed with {' '.join(options)}", f"status 2, `{said}`")


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body.pop("state"),
        lambda body: body.update(order=["nothing"]),
        lambda body: body.update(format="new"),
        lambda body: body.update(state={}),
        lambda body: body.update(state={"iteration": "x", "env_steps": 1, "best_return": None}),
        lambda body: body.update(config={"method": 3}),
        lambda body: body["config"].update(tasks=2.5),
        lambda body: body["config"].update(hidden="wide"),
    ],
)
def test_a_checkpoint_with_a_right_checksum_and_nonsense_inside(damage, run, capsys):
    import safetensors
    import safetensors.torch

    path = run / "best.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        body = json.loads(file.metadata()["metarl"])
    damage(body)
    text = json.dumps(body)
    metadata = {"metarl": text, "sha256": checkpoint._digest(tensors, text)}
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    said_by(["eval", "RUN/best.safetensors"], run, capsys)


def test_unfinished_files_are_swept_away(run):
    for name in (".config.json.123.tmp", "checkpoints/.iteration-000003.safetensors.123.tmp"):
        (run / name).write_bytes(b"half")
    assert main([*TRAIN, "--log-dir", str(run), "--resume", "--iterations", "3"]) == 0
    assert not list(run.rglob(".*"))


@pytest.mark.parametrize("kind", ["PostScript", "pipe"])
def test_a_picture_is_a_png_and_a_file(kind, tmp_path, capsys, monkeypatch, observe):
    for name in "abcdefghij":
        for number in range(30):
            (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), number).save(tmp_path / "pictures" / name / f"{number}.png")
    odd = tmp_path / "pictures" / "a" / "0.png"
    odd.unlink()
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kw: pytest.fail("a program was started"))
    said = said_by(["train", "omniglot-5way-1shot", "--ways", "2", "--folder", str(tmp_path / "pictures")], "", capsys)
    assert str(odd) in said and ("no PNG" in said or "not a regular file" in said)
    observe(f"a {kind} named x.png in a folder of pictures", f"status 2, `{said}`")


def test_a_prepared_baseline_of_a_benchmark_is_not_run(tmp_path):
    folder = tmp_path / "bench" / "oracle-seed0"
    folder.mkdir(parents=True)
    for name in ("ppo.zip", "ppo.safetensors"):
        (folder / name).write_bytes(pickle.dumps(Evil()))
    options = ["--methods", "oracle", "--seeds", "1", "--budget", "100", "--out", str(tmp_path / "bench")]
    assert main(["benchmark", "point-navigation", *options]) == 0
    assert not os.path.exists("it-was-run")
    assert checkpoint.load(folder / "ppo.safetensors").state["env_steps"] >= 100
