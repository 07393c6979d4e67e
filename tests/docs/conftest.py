import functools
import sys

import gymnasium
import pytest

from metarl.experiment.config import Config


@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    """An empty folder from which modules can be imported, and which leaves none behind; evaluations are small there."""
    monkeypatch.setattr("metarl.models.rl.Config", functools.partial(Config, eval_tasks=2, eval_episodes=2))
    monkeypatch.syspath_prepend(tmp_path)
    registered = set(gymnasium.registry)
    yield tmp_path
    for env_id in set(gymnasium.registry) - registered:
        if not env_id.startswith("metarl/"):
            del gymnasium.registry[env_id]
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
