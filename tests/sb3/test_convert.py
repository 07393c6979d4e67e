"""Policies exported to stable-baselines3's PPO act as before, go on training, and are refused where they cannot."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from own_envs import Corridor
from stable_baselines3 import PPO
from torch.testing import assert_close

import metarl
from metarl import SB3VecEnv, UserError
from metarl.cli import main
from metarl.core import params as P
from metarl.rl.policies import distribution, make_policy
from metarl.sb3.convert import as_ppo

SMALL = {"tasks": 2, "episodes": 3, "horizon": 8, "hidden": (8,)}
FORWARD = np.array([1.0])


@pytest.fixture(scope="module")
def model():
    return metarl.MAML("metarl/HalfCheetahDir-v0", action_scale=0.1, init_std=0.5, **SMALL).learn(1)


def test_an_exported_policy_acts_as_before(model, tmp_path):
    model.export_sb3(tmp_path / "adapted", FORWARD, steps=2, seed=3)
    model.export_sb3(tmp_path / "before.zip")
    obs = np.random.default_rng(0).normal(size=(50, 17)).astype(np.float32)
    for name, ours in (("adapted", model.adapt(FORWARD, steps=2, seed=3)), ("before", model.policy)):
        theirs = PPO.load(tmp_path / f"{name}.zip")
        assert_close(ours.predict(obs, deterministic=True)[0], theirs.predict(obs, deterministic=True)[0])
        found = theirs.policy.get_distribution(torch.from_numpy(obs)).distribution
        with torch.no_grad():
            expected = distribution(ours.policy, ours.params, torch.from_numpy(obs)[None])
        assert_close(found.mean.detach(), 0.1 * expected.mean[0])
        assert_close(found.stddev.detach(), 0.1 * expected.log_std.exp().expand(50, -1))


def test_it_goes_on_training_on_its_task(model, tmp_path):
    model.export_sb3(tmp_path / "ppo.zip", FORWARD)
    envs = gymnasium.make_vec("metarl/HalfCheetahDir-v0", 4, max_episode_steps=8, autoreset_mode="SameStep")
    envs.unwrapped.set_tasks(np.tile(FORWARD, (4, 1)))
    ppo = PPO.load(tmp_path / "ppo.zip", env=SB3VecEnv(envs))
    before = {name: value.clone() for name, value in ppo.policy.state_dict().items()}
    ppo.learn(64)
    assert ppo.num_timesteps == 64
    assert any(not torch.equal(before[name], value) for name, value in ppo.policy.state_dict().items())


def test_discrete_actions_too(tmp_path):
    model = metarl.MAML(Corridor, **SMALL).learn(1)
    model.export_sb3(tmp_path / "ppo.zip", [1.0], seed=1)
    ours, theirs = model.adapt([1.0], seed=1), PPO.load(tmp_path / "ppo.zip")
    obs = np.linspace(-5, 5, 11, dtype=np.float32)[:, None]
    found = theirs.policy.get_distribution(torch.from_numpy(obs)).distribution
    with torch.no_grad():
        assert_close(found.logits, distribution(ours.policy, ours.params, torch.from_numpy(obs)[None]).logits[0])


def test_the_floor_of_the_standard_deviation_stays():
    env = gymnasium.make("metarl/PointNavigation-v0")
    policy = make_policy(env.observation_space, env.action_space, (), seed=0, init_std=1e-9, action_scale=0.1)
    assert as_ppo(policy, P.params_of(policy), env).policy.log_std.exp().tolist() == pytest.approx([1e-7] * 2)


class Spaces(gymnasium.Env):
    """Nothing but spaces."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (spaces.Box(-1, 1, (2,)), spaces.Discrete(3, start=1), "counts actions from 0, the environment from 1"),
        (spaces.Box(-1, 1, (2,)), spaces.Box(-np.inf, np.inf, (2,)), "needs bounded actions"),
        (spaces.Box(0, 255, (40, 40, 3), np.uint8), spaces.Discrete(3), "would rearrange the pictures"),
    ],
)
def test_what_sb3_cannot_represent_is_refused(observations, actions, message):
    policy = make_policy(observations, actions, (4,), seed=0)
    with pytest.raises(UserError, match=message):
        as_ppo(policy, P.params_of(policy), Spaces(observations, actions))


def test_the_command(tmp_path, capsys):
    file = tmp_path / "ppo.zip"
    pretrained = ["export", "pretrained:point-navigation"]
    assert main([*pretrained, "--task", "0.3", "-0.2", "--to", "sb3", str(file)]) == 0
    assert "value network is untrained" in capsys.readouterr().out
    assert PPO.load(file).predict(np.zeros(2), deterministic=True)[0] @ [0.3, -0.2] > 0.01
    metarl.RL2("metarl/PointNavigation-v0", **SMALL).save(tmp_path / "rl2")
    sines = ["train", "sinusoid", "--iterations", "1", "--eval-tasks", "2", "--log-dir", str(tmp_path / "sines")]
    assert main(sines) == 0
    capsys.readouterr()
    to = ["--to", "sb3", str(tmp_path / "no.zip")]
    for arguments, message in [
        ([*pretrained, *to], "give --task T"),
        ([*pretrained, "--task", "9", "9", *to], "outside its task space"),
        ([*pretrained, "--task", "0.1", "0.1", "--to", "sb4", "x.zip"], "unknown format 'sb4'; export writes sb3"),
        ([*pretrained, "--steps", "0", "--to", "sb3", str(file / "x.zip")], "cannot write"),
        (["export", str(tmp_path / "rl2.safetensors"), "--steps", "0", *to], "no policy with a memory can be exported"),
        (["export", str(tmp_path / "sines"), "--steps", "0", *to], "PPO takes policies only"),
    ]:
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert not (tmp_path / "no.zip").exists()


def test_an_exported_policy_of_other_activations_acts_the_same(tmp_path):
    small = {"tasks": 2, "episodes": 2, "horizon": 5, "hidden": (8, 8)}
    model = metarl.MAML("metarl/PointNavigation-v0", activation="relu", **small)
    model.export_sb3(tmp_path / "model.zip")
    obs = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    ours, _ = model.policy.predict(obs, deterministic=True)
    theirs, _ = PPO.load(tmp_path / "model.zip", device="cpu").predict(obs, deterministic=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    context = metarl.CAVIA("metarl/PointNavigation-v0", **small)
    context.export_sb3(tmp_path / "context.zip", task=[0.3, 0.2])
    ours, _ = context.adapt([0.3, 0.2]).predict(obs, deterministic=True)
    theirs, _ = PPO.load(tmp_path / "context.zip", device="cpu").predict(obs, deterministic=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    with pytest.raises(UserError, match="without layer norm can be exported"):
        metarl.MAML("metarl/PointNavigation-v0", layer_norm=True, **small).export_sb3(tmp_path / "other.zip")
