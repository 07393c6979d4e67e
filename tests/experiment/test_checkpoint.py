"""Checkpoint files: whole or not at all, and what a damaged one says."""

import json

import pytest
import safetensors.torch
import torch

from metarl import UserError
from metarl.experiment import checkpoint
from metarl.experiment.checkpoint import Checkpoint, DamagedCheckpoint


@pytest.fixture
def saved(tmp_path):
    params = {"z.weight": torch.randn(3, 2), "a": torch.randn(4)}
    path = tmp_path / "one.safetensors"
    checkpoint.save(Checkpoint(params, {"env": "x"}, {"iteration": 3}), path)
    return path, params


def test_a_checkpoint_comes_back_to_the_bit_and_in_order(saved):
    path, params = saved
    loaded = checkpoint.load(path)
    assert list(loaded.params) == list(params)
    assert all(torch.equal(loaded.params[name], params[name]) for name in params)
    assert (loaded.config, loaded.state) == ({"env": "x"}, {"iteration": 3})
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_file_is_damaged(saved, length):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedCheckpoint, match="damaged"):
        checkpoint.load(path)


def test_every_flipped_bit_is_found(saved):
    path, _ = saved
    whole = path.read_bytes()
    for at in range(8, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(UserError):
            checkpoint.load(path)


def test_a_failed_write_keeps_the_previous_file(saved, monkeypatch):
    path, params = saved

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*one.safetensors': No space"):
        checkpoint.save(Checkpoint({"a": torch.zeros(1)}, {}, {}), path)
    assert list(checkpoint.load(path).params) == list(params)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    checkpoint.save(Checkpoint({"a": torch.zeros(1)}, {}, {}), tmp_path / "new.safetensors")
    monkeypatch.undo()
    with pytest.raises(UserError, match="format 99"):
        checkpoint.load(tmp_path / "new.safetensors")


def test_a_file_of_somebody_else_is_no_checkpoint(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text(json.dumps({"a": 1}))
    for name in ("other", "text"):
        with pytest.raises(DamagedCheckpoint, match="not a checkpoint"):
            checkpoint.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="does not exist"):
        checkpoint.load(tmp_path / "missing.safetensors")
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "config.json").touch()
    with pytest.raises(UserError, match=r"did you mean '.*seed-0'"):
        checkpoint.load(tmp_path / "seed0.safetensors")
