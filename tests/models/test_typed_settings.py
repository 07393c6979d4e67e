"""Settings that an editor completes and pyright checks; wrong kinds are one line at run time too."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

import metarl
from metarl.experiment.config import Config
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.experiment.settings import fixed
from metarl.methods import METHODS, SUPERVISED
from metarl.models import keywords
from metarl.outer import OUTERS

ENV = "metarl/PointNavigation-v0"
KEYWORDS = {
    "maml": keywords.MAMLKeywords,
    "fomaml": keywords.MAMLKeywords,
    "anil": keywords.MAMLKeywords,
    "cavia": keywords.MAMLKeywords,
    "meta-sgd": keywords.MAMLKeywords,
    "ppo-maml": keywords.MAMLKeywords,
    "reptile": keywords.ReptileKeywords,
    "promp": keywords.ProMPKeywords,
    "e-maml": keywords.EMAMLKeywords,
    "rl2": keywords.RL2Keywords,
    "varibad": keywords.VariBADKeywords,
}


def names(*kinds):
    return {f.name for kind in kinds for f in dataclasses.fields(kind)}


@pytest.mark.parametrize("name", METHODS)
def test_the_keywords_of_a_model_are_its_settings(name):
    own = names(Config, type(METHODS[name])) - {"env", "method"} - fixed(METHODS[name])
    found = set(get_type_hints(KEYWORDS[name]))
    assert own <= found
    assert found - own <= names(*OUTERS.values())


def test_the_keywords_of_few_shot_models_are_their_settings():
    own = names(FewShotConfig, *(type(method) for method in SUPERVISED.values())) - {"data", "method"}
    found = set(get_type_hints(keywords.FewShotKeywords))
    assert own <= found
    assert found - own <= names(*OUTERS.values())


SCRIPT = """
import metarl

metarl.MAML("metarl/HalfCheetahDir-v0", tasks=3, inner_lr=0.1, max_kl=0.02, hidden=(8,), outer=metarl.TRPO())
metarl.FewShot("sinusoid", method=metarl.methods.Reptile(inner_lr=0.02), tasks=3)
metarl.load("somewhere").adapt([1.0])
metarl.MAML.load("somewhere").adapt([1.0]).predict([0.0])
metarl.MAML("metarl/HalfCheetahDir-v0", taks=3)
metarl.MAML("metarl/HalfCheetahDir-v0", inner_lr="big")
metarl.Reptile("metarl/HalfCheetahDir-v0", inner_optimizer="rmsprop")
metarl.ProMP("metarl/HalfCheetahDir-v0", inner_kl=None)
metarl.RL2("metarl/HalfCheetahDir-v0", activation="relu")
"""


@pytest.mark.skipif(shutil.which("pyright", path=str(Path(sys.executable).parent)) is None, reason="no pyright here")
def test_pyright_knows_the_settings(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    checker = Path(sys.executable).parent / "pyright"
    command = [str(checker), "--pythonpath", sys.executable, "script.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False).stdout
    errors = [line for line in said.splitlines() if "- error:" in line]
    lines = [int(line.split("script.py:")[1].split(":")[0]) for line in errors]
    assert lines == [8, 9, 10, 11, 12], said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tasks": "20"}, "tasks must be a whole number, got '20'"),
        ({"tasks": 2.5}, "tasks must be a whole number, got 2.5"),
        ({"tasks": True}, "tasks must be a whole number, got True"),
        ({"hidden": 64}, r"hidden must be whole numbers such as \(64, 64\), got 64"),
        ({"horizon": 5.5}, "horizon must be a whole number or None, got 5.5"),
        ({"inner_lr": "big"}, "inner_lr must be a number, got 'big'"),
        ({"max_kl": None}, "max_kl must be a number, got None"),
        ({"taks": 3}, "unknown setting 'taks'; did you mean 'tasks'"),
    ],
)
def test_wrong_kinds_are_one_line(settings, words):
    with pytest.raises(metarl.UserError, match=words):
        metarl.MAML(ENV, **settings)


def test_environments_and_tasks_of_wrong_kinds(tmp_path):
    with pytest.raises(metarl.UserError, match="env takes an id, a class or a function"):
        metarl.MAML(metarl.MAML(ENV, tasks=2, episodes=1).trainer.inner_loop.sampler.env.unwrapped)
    with pytest.raises(metarl.UserError, match=r"env takes an id, a class or a function .*, got 3"):
        metarl.MAML(3)
    model = metarl.MAML(ENV, tasks=2, episodes=2, horizon=5, hidden=(4,))
    for task in ({"x": 1.0}, "north", [0.1, 0.2, 0.3]):
        with pytest.raises(metarl.UserError):
            model.adapt(task)
    model.close()


def test_numpys_numbers_become_pythons_own(tmp_path):
    model = metarl.MAML(
        ENV,
        inner_lr=np.float32(0.5),
        tasks=np.int64(3),
        hidden=np.array([4]),
        outer=metarl.TRPO(max_kl=np.float32(0.01)),
        episodes=2,
        horizon=5,
    ).learn(1)
    model.save(tmp_path / "model")
    loaded = metarl.load(tmp_path / "model")
    assert loaded.config == model.config
    assert type(loaded.config.method.inner_lr) is float and type(model.config.tasks) is int


def test_a_model_says_what_it_is():
    model = metarl.ProMP(ENV, tasks=2, episodes=2, horizon=5, hidden=(4,))
    assert repr(model) == f"<ProMP promp on {ENV}: 24 params, 0 iterations, 0 steps>"
    model.learn(2)
    assert repr(model).endswith("2 iterations, 80 steps>")
    assert repr(model.policy) == f"<AdaptedPolicy on {ENV}: before adaptation>"
    assert repr(model.adapt([0.1, 0.2])) == f"<AdaptedPolicy on {ENV}: 1 task, 1 gradient step of 2 episodes>"
    two = model.adapt([[0.1, 0.2], [0.3, 0.4]], steps=2, episodes=1)
    assert repr(two) == f"<AdaptedPolicies on {ENV}: 2 tasks, 2 gradient steps of 1 episode>"
    model.close()
    memory = metarl.RL2(ENV, tasks=2, episodes=2, horizon=5, hidden=(4,))
    assert repr(memory.adapt([0.1, 0.2], steps=1)) == f"<AdaptedPolicy on {ENV}: 1 task, 1 episode seen>"
    memory.close()
