import gc
import os
import signal

import pytest
import torch

os.environ.setdefault("MUJOCO_GL", "egl")
torch.set_num_threads(1)  # the networks of the tests are too small for more
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:  # nohup, or a script's background job: runs would ignore it too
        signal.signal(number, usual)


def pytest_collection_modifyitems(items):
    """With `pytest -n 2` the tests of a file stay together, and so do all that need Ray, which start it once."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if "cluster" in item.path.parts else item.path.name))


def pytest_collection_finish():
    """What is imported by now stays: looking for rubbish among it would take a tenth of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Nothing may be written beside a run's own files; some tests look at what appeared here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
