"""Every preset of an environment trains; what they promise about methods holds."""

from dataclasses import replace

import numpy as np
import pytest

from metarl.experiment.presets import IN_ENVIRONMENTS
from metarl.experiment.settings import brought, with_method, with_settings
from metarl.experiment.trainer import Trainer
from metarl.methods import method_name
from metarl.outer import PPO, TRPO

SMALL = {"tasks": 2, "episodes": 2, "hidden": (8,), "eval_tasks": 2, "eval_episodes": 2}


@pytest.mark.parametrize("name", IN_ENVIRONMENTS)
def test_a_preset_trains(name):
    config = IN_ENVIRONMENTS[name]
    if "MetaWorld" in config.env:
        pytest.importorskip("metaworld", reason="pip install --no-deps metaworld==3.1.1")
    trainer = Trainer(replace(config, **SMALL, horizon=min(config.horizon or 100, 8)))
    metrics = trainer.iterate()
    trainer.close()
    assert np.isfinite(metrics["meta/return_step1"])


def test_the_reproduction_of_the_paper_stays_with_its_method():
    assert method_name(IN_ENVIRONMENTS["point-navigation"].method) == "maml"


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("half-cheetah-dir", "promp"),
        ("half-cheetah-vel", "promp"),
        ("ant-goal", "meta-sgd"),
    ],
)
def test_locomotion_takes_several_outer_steps_and_maml_with_trpo_is_one_flag_away(name, method):
    preset = IN_ENVIRONMENTS[name]
    assert method_name(preset.method) == method and isinstance(preset.method.outer, PPO)
    maml = with_method(preset, "maml")
    assert isinstance(maml.method.outer, TRPO)  # type: ignore[attr-defined]
    assert maml.method.inner_lr == preset.method.inner_lr  # type: ignore[attr-defined]
    assert maml.tasks == 20 and maml.episodes == preset.episodes  # a single step wants more data
    assert maml.tasks * maml.iterations == preset.tasks * preset.iterations
    assert maml.iterations // maml.eval_every == preset.iterations // preset.eval_every
    assert with_method(preset, "ppo-maml").tasks == preset.tasks


def test_a_single_outer_step_has_as_many_tasks_as_were_given():
    preset = IN_ENVIRONMENTS["half-cheetah-dir"]
    assert with_method(replace(preset, tasks=40), "maml").tasks == 40
    single = replace(IN_ENVIRONMENTS["ml1-reach"], tasks=3)
    assert with_method(single, "fomaml").tasks == 3  # as many as before


def test_no_environment_has_two_presets():
    # with the same options
    played = {(config.env, *sorted(config.env_options.items())) for config in IN_ENVIRONMENTS.values()}
    assert len(played) == len(IN_ENVIRONMENTS)


def test_what_is_kept_stays_where_a_methods_other_settings_change_the_size_of_an_iteration():
    preset = IN_ENVIRONMENTS["ant-dir"]
    changed = with_settings(preset, {"lifetime": 20, "tasks": 5, "eval_every": 7})
    assert (changed.tasks, changed.eval_every) == (5, 7) and changed.iterations != preset.iterations
    kept = brought(replace(preset, tasks=5, eval_every=7), changed.method, {"tasks", "eval_every"})
    assert "iterations" in kept and kept.keys().isdisjoint({"tasks", "eval_every"})
