"""Configurations answer for themselves: what they name, what they build, and which methods learn their tasks."""

from dataclasses import replace

import pytest

from metarl import UserError
from metarl.experiment.config import Config
from metarl.experiment.config_file import differences
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.experiment.parts import Parts, typed_parts
from metarl.experiment.presets import PRESETS, for_data, for_env
from metarl.experiment.settings import with_settings
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.methods import CAVIA, EMAML, MAML, RL2, SUPERVISED, Adam, ProMP
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.rl.memory_loop import MemoryInnerLoop

ENV = "metarl/PointNavigation-v0"
POLICY = Config(env=ENV, tasks=3, episodes=4, horizon=5, hidden=(4,), eval_tasks=2, eval_episodes=6)
SINES = FewShotConfig(data="sinusoid", method=MAML(outer=Adam()), tasks=3, eval_tasks=2, queries=4, eval_queries=6)


@pytest.mark.parametrize(("config", "kind"), [(POLICY, PolicyInnerLoop), (SINES, ShotInnerLoop)])
def test_a_configuration_builds_the_inner_loop_of_its_tasks(config, kind):
    for held_out, tasks, judging in ((False, 3, 4), (True, 2, 6)):
        inner_loop = config.build(Parts(), held_out)
        assert type(inner_loop) is kind and inner_loop.tasks == tasks
        assert config.judging(held_out) == judging
        inner_loop.close()


def test_a_method_that_remembers_gets_a_memory():
    inner_loop = Config(env=ENV, method=RL2(), tasks=2, episodes=1, horizon=5).build(Parts(), episodes=2)
    assert type(inner_loop) is MemoryInnerLoop and inner_loop.sampler.episodes == 2
    inner_loop.close()


def test_a_start_is_the_first_preset_or_the_defaults():
    assert for_env("metarl/MetaWorldML1-v0") is PRESETS["ml1-reach"]
    assert for_env("metarl/SwimmerDir-v0") == Config(env="metarl/SwimmerDir-v0")
    assert for_data("glyphs") is PRESETS["glyphs-5way-1shot"]
    assert for_data("springs:Springs") == FewShotConfig(data="springs:Springs", method=SUPERVISED["maml"])
    with pytest.raises(UserError, match="unknown data 'sinus'; did you mean 'sinusoid'"):
        for_data("sinus")


class OwnEMAML(EMAML):
    """Somebody's variant."""


class OwnProMP(ProMP):
    """Somebody's variant."""


class OwnRL2(RL2):
    """Somebody's variant."""


@pytest.mark.parametrize("method", [OwnEMAML(), OwnProMP(), OwnRL2()])
def test_methods_that_need_returns_are_refused_by_name_where_there_are_none(method):
    with pytest.raises(UserError, match=f"method {type(method).__name__} is for reinforcement learning only"):
        FewShotConfig(data="sinusoid", method=method)
    Config(env=ENV, method=method)


class Falsy:
    """A baseline that happens to be false, as an object of length 0 is."""

    def __bool__(self):
        return False

    def __call__(self, episodes, returns):
        return returns


def test_what_is_given_is_kept_and_the_rest_is_found_in_modules_that_were_typed():
    config = Config(env=ENV, baseline="math:sqrt", inner_loss="math:exp")
    baseline = Falsy()
    found = typed_parts(config.named_parts, ("math",), Parts(baseline=baseline))
    assert found.baseline is baseline and found.inner_loss(0.0) == 1.0
    assert config.own_modules == ["math"]
    with pytest.raises(UserError, match=r"this run has the inner_loss math:exp, .* --import math on the command line"):
        typed_parts(config.named_parts, (), Parts(baseline=baseline))


def test_a_context_that_is_said_is_no_other_than_the_methods_own():
    run = Config(env=ENV, method=CAVIA())
    assert differences(run, replace(run, context=run.context_size)) == []
    assert differences(run, replace(run, context=3)) == ["context: 16 -> 3"]


def test_another_setting_of_a_memory_leaves_the_size_of_the_run_as_it_was():
    before = Config(env=ENV, method=RL2(), tasks=40, episodes=4, gae_lambda=0.99, iterations=625, eval_every=62)
    after = with_settings(before, {"ent_coef": 0.02})
    assert after == replace(before, method=RL2(ent_coef=0.02))
    assert with_settings(before, {"lifetime": 10}).episodes < 4  # as long lifetimes as this are few
