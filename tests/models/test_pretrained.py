"""The policies that come with the package still do what their cards say."""

import numpy as np
import pytest
from scipy import stats

import metarl
from metarl import UserError
from metarl.cli import main
from metarl.models.pretrained import cards

SLOW = "ant", "walker"
"""Beginnings of the names of bodies that take seconds to play."""


@pytest.mark.parametrize("steps", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith(SLOW)) for name in cards()]
)
def test_a_pretrained_policy_reaches_the_curve_of_its_card(name, steps):
    card = cards()[name]
    model = metarl.load(f"pretrained:{name}")
    curve = metarl.adaptation_curve(model, **{**card["evaluation"], "steps": steps})
    assert (card["env"], card["env_steps"]) == (model.config.env, model.trainer.progress.env_steps)
    low, high = (np.array(card["curve"][end])[: steps + 1] for end in ("ci_low", "ci_high"))
    assert np.all((low <= curve.mean) & (curve.mean <= high))
    if not model.config.method.remembers:  # a memory adapts from the first episode on
        gain = curve.per_task[:, 1] - curve.per_task[:, 0]  # task by task: what can be had differs among them
        assert stats.ttest_1samp(gain, 0.0, alternative="greater").pvalue < 1e-4  # it adapts


def test_the_command_line_takes_them_by_name(capsys):
    assert main(["eval", "pretrained:half-cheetah-dir", "--tasks", "2", "--episodes", "2", "--steps", "1"]) == 0
    assert "HalfCheetahDir" in capsys.readouterr().out
    assert main(["eval", "pretrained:half-cheeta-dir"]) == 2
    assert "did you mean 'half-cheetah-dir'?" in capsys.readouterr().err
    with pytest.raises(UserError, match="no pretrained policy"):
        metarl.load("pretrained:nothing")
