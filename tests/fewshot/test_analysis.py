"""Freezing layers and comparing representations, for supervised tasks and for policies."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import shots
import torch
from torch.testing import assert_close

import metarl
from metarl.cli import main
from metarl.core import params as P
from metarl.experiment.presets import PRESETS
from metarl.methods import ANIL, MAML, MetaSGD, Reptile
from metarl.models.supervised import FewShot
from metarl.outer import Adam
from metarl.report.analysis import analyse, similarities
from metarl.report.features import representations
from metarl.report.frozen import Frozen, layers_of

SMALL = dataclasses.replace(PRESETS["sinusoid"], tasks=4, eval_tasks=4)


@pytest.fixture(scope="module")
def policy():
    model = metarl.MAML("metarl/PointNavigation-v0", tasks=3, episodes=3, horizon=6, hidden=(8, 8), inner_lr=0.5)
    yield model
    model.close()


def test_layers_of_a_network_and_of_a_policy(policy):
    assert [len(layer) for layer in layers_of(P.params_of(FewShot(SMALL).trainer.network))] == [2, 2, 2]
    layers = layers_of(policy.trainer.params)
    assert len(layers) == 3 and "log_std" in layers[-1]


def test_a_normalisation_is_part_of_the_layer_before_it():
    sizes = {"tasks": 2, "episodes": 2, "horizon": 5, "hidden": (8, 8), "inner_lr": 0.5}
    plain = metarl.MAML("metarl/PointNavigation-v0", **sizes)
    normal = metarl.MAML("metarl/PointNavigation-v0", layer_norm=True, **sizes)
    assert [len(layer) for layer in layers_of(normal.trainer.params)] == [4, 4, 3]
    found = [analyse(model, tasks=2) for model in (plain, normal)]
    assert [(len(analysis.frozen), analysis.cka.shape) for analysis in found] == [(4, (2, 3))] * 2
    for model in (plain, normal):
        model.close()


@pytest.mark.parametrize("method", [MAML(outer=Adam()), MetaSGD(outer=Adam()), Reptile(inner_optimizer="adam")])
def test_frozen_params_stay_and_the_others_move_as_ever(method):
    inner_loop = shots.inner_loop(method, "classification")
    params = P.stack(method.initial(P.params_of(inner_loop.network)), shots.K)
    support = inner_loop.source.draw(np.ones((shots.K, 2 * shots.WAYS)), [np.random.default_rng(i) for i in range(3)])
    support = dataclasses.replace(support.support, x=support.support.x.float())
    frozen = frozenset(layers_of(inner_loop.losses.own(params))[0])
    moved = method.inner_step(inner_loop.losses.loss, params, support)
    held = Frozen(method, frozen).inner_step(inner_loop.losses.loss, params, support)
    for name in moved:
        assert torch.equal(held[name], params[name] if name in frozen else moved[name])
    assert not torch.equal(held["layers.2.weight"], params["layers.2.weight"])


def test_freezing_all_layers_equals_no_adaptation():
    found = analyse(FewShot(SMALL), steps=3, tasks=4)
    assert len(found.frozen) == 4
    everything = found.frozen[-1].per_task
    assert np.array_equal(everything, np.repeat(everything[:, :1], 4, axis=1))
    assert not np.allclose(found.frozen[0].per_task[:, 1], everything[:, 1])
    assert np.array_equal(found.frozen[0].per_task[:, 0], everything[:, 0])


def test_freezing_the_body_equals_anil():
    maml = FewShot(dataclasses.replace(SMALL, method=MAML(inner_lr=0.05, outer=Adam())))
    anil = FewShot(dataclasses.replace(SMALL, method=ANIL(inner_lr=0.05, outer=Adam())))
    body_frozen = analyse(maml, steps=2, tasks=4).frozen[2].per_task
    assert_close(body_frozen, metarl.adaptation_curve(anil, steps=2, tasks=4, seed=1).per_task)


def test_anil_changes_only_the_head():
    model = FewShot(dataclasses.replace(SMALL, method=ANIL(inner_lr=0.05, outer=Adam())))
    inner_loop = model.trainer.build_inner_loop(held_out=True)
    cka, cca = similarities(inner_loop, model.trainer.params, 1, seed=0)
    assert cka.shape == cca.shape == (4, 3)
    np.testing.assert_allclose(cka[:, :2], 1)
    np.testing.assert_allclose(cca[:, :2], 1)


def test_representations_are_what_layers_hand_on():
    model = FewShot(SMALL)
    inner_loop = model.trainer.build_inner_loop(held_out=True)
    lesson = inner_loop.source.draw(
        inner_loop.sample_tasks(4, np.random.default_rng(0)), [np.random.default_rng(i) for i in range(4)]
    )
    first, *_, last = representations(inner_loop, P.stack(model.trainer.params, 4), lesson)
    p = model.trainer.params
    assert_close(first[2], (lesson.query.x[2] @ p["layers.0.weight"].T + p["layers.0.bias"]).relu())
    assert_close(last[2], model.adapt(np.zeros((1, 1)), np.zeros((1, 1)), 0).losses.network(lesson.query.x[2]).detach())


def test_a_policy_is_analysed_too(policy):
    found = analyse(policy, steps=1, tasks=3)
    assert len(found.frozen) == 4 and found.cka.shape == (3, 3)
    assert np.isfinite(found.cka).all() and (found.cka <= 1 + 1e-6).all() and (found.cca <= 1 + 1e-6).all()
    assert found.frozen[0].measure == "return"


def test_the_command_writes_tables_and_pictures(tmp_path, capsys):
    directory = str(tmp_path / "run")
    train = "train sinusoid --tasks 3 --iterations 6 --eval-tasks 2 --checkpoint-every 2 --log-dir".split()
    assert main([*train, directory]) == 0
    assert main(["analyse", directory, "--tasks", "3", "--along"]) == 0
    out = capsys.readouterr().out
    assert "frozen layers" in out and "│ 1-3" in out and "CKA" in out
    assert (tmp_path / "run" / "analysis.png").stat().st_size > 5000
    record = json.loads((tmp_path / "run" / "analysis.json").read_text())
    assert [part["iteration"] for part in record] == [2, 4, 6]
    for checkpoint in list((tmp_path / "run" / "checkpoints").iterdir())[1:]:
        checkpoint.unlink()
    assert main(["analyse", directory, "--along"]) == 2
    assert main(["analyse", directory, "--tasks", "0"]) == 2
    assert main(["analyse", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "train with --keep-checkpoints" in said and "tasks must be at least 1" in said and "holds no run" in said


def test_files_and_pretrained_policies_are_analysed_without_a_run(tmp_path, capsys):
    FewShot(SMALL).save(tmp_path / "sines")
    assert main(["analyse", str(tmp_path / "sines.safetensors"), "--tasks", "3", "--out", "sines.png"]) == 0
    assert json.loads(Path("sines.json").read_text())[0]["title"] == "sinusoid, 10-shot"
    assert main(["analyse", "pretrained:point-navigation", "--tasks", "2"]) == 0
    assert Path("analysis.png").stat().st_size > 5000
    assert "1-3" in capsys.readouterr().out
    assert main(["analyse", "pretrained:point-navigation", "--along"]) == 2
    assert main(["analyse", "pretrained:point-navigatoin"]) == 2
    said = capsys.readouterr().err
    assert "holds no run" in said and "did you mean 'point-navigation'?" in said


def test_a_memory_has_no_layers_to_freeze():
    model = metarl.RL2("metarl/PointNavigation-v0", tasks=2, episodes=2, horizon=4, hidden=(8,))
    with pytest.raises(metarl.UserError, match="rl2 adapts its memory"):
        analyse(model)
    model.close()
