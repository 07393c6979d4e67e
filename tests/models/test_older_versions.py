"""What version 0.1 trained: runs of today compute the same up to rounding, and its files still load."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import metarl
from metarl.methods import ProMP
from metarl.rl import recurrent

DATA = Path(__file__).parents[1] / "data"
TINY = {"tasks": 3, "episodes": 4, "horizon": 12, "hidden": (8, 8), "action_scale": 0.1, "seed": 3}
RUNS = {
    "maml-two-steps": (metarl.MAML, "metarl/HalfCheetahVel-v0", {"inner_steps": 2, "fisher_stride": 1}),
    "fomaml": (metarl.FOMAML, "metarl/HalfCheetahDir-v0", {}),
    "reptile": (metarl.Reptile, "metarl/AntDir-v0", {}),
    "promp": (metarl.ProMP, "metarl/HalfCheetahDir-v0", {"minibatches": 2}),
    "ppo-maml": (metarl.PPOMAML, "metarl/Walker2dVel-v0", {}),
    "rl2": (metarl.RL2, "metarl/PointNavigation-v0", {"lifetime": 2, "vf_coef": 0, "max_grad_norm": None}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_meta_iteration_computes_what_it_did(name, monkeypatch):
    """One iteration: after several, physics with contacts and conjugate gradients have made rounding visible."""
    monkeypatch.setattr(recurrent, "seed_of_part", lambda seed: seed + 1)  # as it drew a memory's initial weights
    kind, env, settings = RUNS[name]
    tolerance = 5e-4 if "Ant" in env else 1e-5  # its contacts make visible in one iteration how a processor rounds
    model = kind(env, **{**TINY, **settings}).learn(1)
    before = safetensors.torch.load_file(DATA / "params-0.1.safetensors")
    assert {f"{name}/{param}" for param in model.trainer.params} == {
        key for key in before if key.startswith(f"{name}/")
    }
    for param, value in model.trainer.params.items():
        torch.testing.assert_close(value, before[f"{name}/{param}"], rtol=1e-4, atol=tolerance)
    model.close()


def test_a_file_of_version_0_1_loads():
    model = metarl.load(DATA / "model-0.1.safetensors")
    assert type(model) is metarl.ProMP and isinstance(model.config.method, ProMP)
    assert model.config.method.outer == metarl.PPO(minibatches=2)
    assert model.trainer.progress.iteration == 1
    action, _ = model.policy.predict(np.zeros(17), deterministic=True)
    assert np.isfinite(action).all()
    model.close()
