"""Models with the settings of presets, and curves of tasks of one's own."""

import numpy as np
import pytest
import torch

import metarl
from metarl import UserError
from metarl.experiment.presets import find_preset
from metarl.methods import ProMP

FEW = {"tasks": 2, "episodes": 2, "horizon": 5, "eval_tasks": 2, "eval_episodes": 2}


def test_a_preset_has_the_settings_that_the_command_line_has():
    model = metarl.from_preset("half-cheetah-vel")
    assert isinstance(model, metarl.ProMP) and model.config == find_preset("half-cheetah-vel")
    model.close()
    few = metarl.from_preset("sinusoid", iterations=3)
    assert isinstance(few, metarl.FewShot) and few.learn().trainer.progress.iteration == 3


def test_its_settings_and_its_method_can_be_others(tmp_path):
    model = metarl.from_preset("point-navigation", seed=3, inner_lr=0.2, iterations=2, log_dir=tmp_path / "run", **FEW)
    assert (model.config.seed, model.config.method.inner_lr, model.config.action_scale) == (3, 0.2, 0.1)
    model.learn().close()
    again = metarl.from_preset(
        "point-navigation", seed=3, inner_lr=0.2, iterations=3, log_dir=tmp_path / "run", resume=True, **FEW
    )
    assert again.learn(1).trainer.progress.iteration == 3
    again.close()
    memory = metarl.from_preset("half-cheetah-dir", method="rl2")
    assert isinstance(memory, metarl.RL2) and memory.config.tasks == 8
    memory.close()
    own = metarl.from_preset("half-cheetah-dir", method=ProMP(inner_lr=0.3), **FEW)
    assert own.config.method.inner_lr == 0.3
    own.close()


def test_an_environments_id_has_the_settings_of_its_first_preset():
    model = metarl.from_preset("metarl/AntGoal-v0", **FEW)
    assert model.config.method == find_preset("ant-goal").method
    model.close()


def test_few_shot_models_load_as_others_do(tmp_path):
    network = metarl.FewShot("sinusoid", tasks=2, eval_tasks=2)
    network.save(tmp_path / "network")
    assert isinstance(metarl.FewShot.load(tmp_path / "network"), metarl.FewShot)
    with pytest.raises(UserError, match="holds a FewShot, not a MAML"):
        metarl.MAML.load(tmp_path / "network")


def test_from_a_file_of_settings(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "half-cheetah-dir"\ntasks = 3\n')
    model = metarl.from_preset(str(file), episodes=4)
    assert (model.config.tasks, model.config.episodes, model.config.discount) == (3, 4, 0.97)
    model.close()


def test_an_unknown_preset_is_named():
    with pytest.raises(UserError, match="unknown preset 'half-cheeta-dir'; did you mean 'half-cheetah-dir'"):
        metarl.from_preset("half-cheeta-dir")


def test_curves_of_tasks_of_ones_own():
    model = metarl.MAML("metarl/PointNavigation-v0", action_scale=0.1, inner_lr=0.5, **FEW)
    curve = metarl.adaptation_curve(model, tasks=[[0.1, 0.2], [0.0, 0.0], [0.1, 0.2]], episodes=4, steps=1)
    near, far = curve.per_task[1, 0], curve.per_task[0, 0]
    assert curve.per_task.shape == (3, 2) and near > far
    assert repr(curve).startswith("<return in 3 tasks of metarl/PointNavigation-v0 by gradient steps: 0: -")
    for tasks, message in [
        ([[3.0, 0.0]], "outside its task space"),
        ([0.1, 0.2], r"tasks must be a whole number or numbers \[n, d\], got \[0.1, 0.2\]"),
        ("all", "got 'all'"),
    ]:
        with pytest.raises(UserError, match=message):
            metarl.adaptation_curve(model, tasks=tasks)
    with pytest.raises(UserError, match="tasks must be a whole number for sinusoid"):
        metarl.adaptation_curve(metarl.FewShot("sinusoid"), tasks=[[1.0, 2.0]])
    model.close()


def test_the_errors_of_a_users_environment_stay_their_own():
    from own_envs import Corridor

    class Fails(Corridor):
        def step(self, action):
            raise ValueError("mine")

    model = metarl.MAML(Fails, **FEW)
    for play in (lambda: model.adapt([1.0]), lambda: metarl.adaptation_curve(model, tasks=[[1.0]])):
        with pytest.raises(ValueError, match="mine") as found:
            play()
        assert not isinstance(found.value, UserError)
    model.close()


def test_a_model_in_another_environment_says_so():
    model = metarl.load("pretrained:half-cheetah-vel", env="metarl/HalfCheetahDir-v0")
    assert model.config.env == "metarl/HalfCheetahDir-v0" and "HalfCheetahDir" in repr(model)
    velocity = metarl.load("pretrained:half-cheetah-vel")
    assert all(torch.equal(value, velocity.trainer.params[name]) for name, value in model.trainer.params.items())
    assert metarl.adaptation_curve(model, tasks=np.array([[1.0]]), episodes=1, steps=0).env == model.config.env
    model.close()
    velocity.close()


def test_a_file_of_settings_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "named_by_a_file.py").write_text("raise AssertionError('imported')")
    (tmp_path / "mine.toml").write_text('env = "named_by_a_file:X-v0"\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="nothing is imported because a file says so"):
        metarl.from_preset(str(tmp_path / "mine.toml"))


def test_learning_without_a_number_ends_where_the_settings_say(tmp_path):
    model = metarl.from_preset("point-navigation", iterations=3, log_dir=tmp_path / "run", **FEW).learn(1)
    assert model.learn().trainer.progress.iteration == 3
    with pytest.raises(UserError, match="all 3 iterations of the settings are done; say how many more"):
        model.learn()
    model.close()
