"""Every preset of an environment trains; what they promise about methods holds."""

from dataclasses import replace

import numpy as np
import pytest

from metarl.experiment.presets import IN_ENVIRONMENTS
from metarl.experiment.settings import with_method
from metarl.experiment.trainer import Trainer
from metarl.methods import method_name
from metarl.outer import TRPO

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


@pytest.mark.parametrize("name", ["half-cheetah-dir", "half-cheetah-vel", "ant-dir", "ant-vel"])
def test_locomotion_has_promp_and_maml_with_trpo_is_one_flag_away(name):
    assert method_name(IN_ENVIRONMENTS[name].method) == "promp"
    maml = with_method(IN_ENVIRONMENTS[name], "maml")
    assert isinstance(maml.method.outer, TRPO)  # type: ignore[attr-defined]
    assert maml.method.inner_lr == IN_ENVIRONMENTS[name].method.inner_lr  # type: ignore[attr-defined]


def test_no_environment_has_two_presets():
    # with the same options
    played = {(config.env, *sorted(config.env_options.items())) for config in IN_ENVIRONMENTS.values()}
    assert len(played) == len(IN_ENVIRONMENTS)
