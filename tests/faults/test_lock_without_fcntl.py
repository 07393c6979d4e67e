"""The lock where there is no fcntl, as on Windows: msvcrt's, here one that locks the same byte by other means."""

import os
import subprocess
import sys

import pytest

from metarl import UserError
from metarl.experiment import lock

LIKE_WINDOWS = """
import fcntl, os, types
from metarl.experiment import lock

def locking(descriptor, mode, length):
    assert mode == "at once" and length == 1 and os.lseek(descriptor, 0, os.SEEK_CUR) == lock.FAR
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, lock.FAR)

lock.fcntl, lock.msvcrt = None, types.SimpleNamespace(locking=locking, LK_NBLCK="at once")
"""


def test_msvcrt_keeps_two_processes_apart(tmp_path, monkeypatch):
    for name in ("fcntl", "msvcrt"):  # so that they are put back
        monkeypatch.setattr(lock, name, getattr(lock, name))
    exec(LIKE_WINDOWS, {})
    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.delattr(os, "O_NOFOLLOW")
    held = lock.Hold(tmp_path)
    assert held.is_at(tmp_path)
    other = f"{LIKE_WINDOWS}\nfrom pathlib import Path\nlock.Lock(Path({str(tmp_path)!r}))"
    refused = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
    assert refused.returncode and f"is in use by process {os.getpid()} on" in refused.stderr
    with pytest.raises(UserError, match="another model or training of this process"):
        lock.Lock(tmp_path)
    held.release(tmp_path)
    assert not (tmp_path / lock.NAME).exists()
    subprocess.run([sys.executable, "-c", other], check=True)


def test_without_any_lock_there_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.warns(UserWarning, match="no lock on"):
        held = lock.Lock(tmp_path)
    held.release(tmp_path)
