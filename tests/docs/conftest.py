import sys

import pytest


@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    """An empty folder from which modules can be imported, and which leaves none behind."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
