"""Files of a run changed at random: a result, or one line and status 2; never a traceback or a file elsewhere."""

import contextlib
import io
import json
import os
import shutil
import warnings

import pytest
import safetensors.torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from processes import SMALL

from metarl.cli.main import main
from metarl.experiment import checkpoint
from metarl.fewshot import folders

FILES = ["config.json", "curve.json", "progress.csv", "best.safetensors"]
COMMANDS = {
    "config.json": [
        ["plot", "RUN", "--out", "OUT/x.png"],
        [*SMALL, "--log-dir", "RUN", "--resume", "--iterations", "1"],
    ],
    "curve.json": [["plot", "RUN", "--out", "OUT/x.png"]],
    "progress.csv": [["plot", "RUN", "--out", "OUT/x.png"]],
    "best.safetensors": [["eval", "RUN", "--tasks", "1", "--episodes", "1", "--steps", "1"]],
}
usual = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
quick, long = settings(max_examples=12, **usual), settings(max_examples=400, **usual)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "run"
    assert main([*SMALL, "--iterations", "1", "--log-dir", str(path)]) == 0
    return path


def told(arguments, run, out):
    """Run a command; returns what it says. It must end well, or with one line and status 2."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        status = main([part.replace("RUN", str(run)).replace("OUT", str(out)) for part in arguments])
    text = said.getvalue()
    assert status in (0, 2)
    if status:
        assert text.startswith("metarl: ") and text.count("\n") == 1, text
    return text


odd = st.sampled_from([b"", b"\0", b"\xff", b"NaN", b"1e999", b"-1", b'"', b"[" * 2000, b"{}", b"null", b"\n", b","])
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), odd | st.binary(max_size=4)), min_size=1, max_size=3)


def edited(data, changes):
    """Replace some bytes, at a fraction of the length each."""
    for where, length, new in changes:
        at = int(where * len(data))
        data = data[:at] + new + data[at + length :]
    return data


def provoke(name, data, run, tmp_path):
    """Write a file of a copy of the run, and give it to every command that reads it."""
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / name).write_bytes(data)
    before = {file for file in tmp_path.rglob("*") if "copy" not in file.parts and "out" not in file.parts}
    for arguments in COMMANDS[name]:
        told(arguments, copy, tmp_path / "out")
    assert {file for file in tmp_path.rglob("*") if "copy" not in file.parts and "out" not in file.parts} == before


def bytes_test(how):
    @how
    @given(st.sampled_from(FILES), edits)
    def test(run, tmp_path, name, changes):
        provoke(name, edited((run / name).read_bytes(), changes), run, tmp_path)

    return test


test_bytes = bytes_test(quick)
test_many_bytes = pytest.mark.slow(bytes_test(long))

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)


def inside(value, data):
    """Replace something somewhere in nested JSON."""
    at = value
    while True:
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    if isinstance(at, dict) and data.draw(st.booleans()):
        del at[key]
    else:
        at[key] = data.draw(anything)
    return value


def values_test(how):
    @how
    @given(st.sampled_from(["config.json", "curve.json", "best.safetensors"]), st.data())
    def test(run, tmp_path, name, data):
        old = (run / name).read_bytes()
        if name.endswith(".json"):
            new = json.dumps(inside(json.loads(old), data)).encode()
        else:  # with a right checksum
            tensors, body = safetensors.torch.load(old), json.loads(checkpoint._header(old)["__metadata__"]["metarl"])
            text = json.dumps(inside(body, data))
            new = safetensors.torch.save(tensors, {"metarl": text, "sha256": checkpoint._digest(tensors, text)})
        provoke(name, new, run, tmp_path)

    return test


test_values = values_test(quick)
test_many_values = pytest.mark.slow(values_test(long))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{", "[" * 2000 + "{"),
        ('"per_task": [', '"per_task": null, "other": ['),
        ('"env_steps": ', '"env_steps": 1e999, "other": '),
        ('"unit": "', '"unit": ["x"], "other": "'),
    ],
)
def test_curves_that_the_long_test_found(old, new, run, tmp_path):
    text = (run / "curve.json").read_text()
    assert old in text
    provoke("curve.json", text.replace(old, new, 1).encode(), run, tmp_path)


@pytest.mark.parametrize("ending", ["png", "jpg"])
@quick
@given(edits)
def test_pictures(ending, tmp_path, changes):
    shutil.rmtree(tmp_path / "pictures", ignore_errors=True)
    for name in "abcde":
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("L", (12, 12), ord(name)).save(tmp_path / "pictures" / name / f"1.{ending}")
    file = tmp_path / "pictures" / "a" / f"1.{ending}"
    file.write_bytes(edited(file.read_bytes(), changes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            folders.read_folder.__wrapped__(folders.find_pictures(str(tmp_path / "pictures")))
        except folders.UserError as error:
            assert str(file) in str(error) and "\n" not in str(error)
    assert not os.path.exists("it-was-run")


def test_a_picture_that_is_a_bomb(tmp_path, monkeypatch):
    """Pillow warns of one, and raises for twice as large a one."""
    for name in "abcde":
        (tmp_path / name).mkdir()
        Image.new("L", (40, 40)).save(tmp_path / name / "1.png")
    for most in (1000, 500):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(folders.UserError, match=r"1\.png.*decompression bomb") as caught:
            folders.read_folder(folders.find_pictures(str(tmp_path)))
        assert "\n" not in str(caught.value)
