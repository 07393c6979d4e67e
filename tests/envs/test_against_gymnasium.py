"""Our MuJoCo simulations move exactly as Gymnasium's v5 classes do."""

import gymnasium
import metarl_envs  # noqa: F401 - registers the ids
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

PAIRS = {
    "metarl/HalfCheetahDir-v0": ("HalfCheetah-v5", {}),
    "metarl/AntDir-v0": ("Ant-v5", {"include_cfrc_ext_in_observation": False}),
    "metarl/HumanoidDir-v0": ("Humanoid-v5", {"include_cfrc_ext_in_observation": False}),
    "metarl/Walker2dDir-v0": ("Walker2d-v5", {}),
    "metarl/SwimmerVel-v0": ("Swimmer-v5", {}),
}


@pytest.mark.parametrize(
    ("env_id", "options"),
    [("metarl/HalfCheetahDir-v0", {"ctrl_cost_weight": 0.1}), ("metarl/Walker2dDir-v0", {})],
)
def test_same_reward_with_the_same_weights(env_id, options, folder):
    ours = gymnasium.make(env_id, task=np.ones(1), **options).unwrapped
    theirs = gymnasium.make(PAIRS[env_id][0]).unwrapped
    (folder / "MUJOCO_LOG.TXT").unlink(missing_ok=True)
    rng = np.random.default_rng(0)
    ours.reset(seed=1)
    theirs.reset(seed=1)
    for _ in range(100):
        action = rng.uniform(-1.0, 1.0, size=6)
        _, reward, terminated, _, _ = ours.step(action)
        _, their_reward, their_terminated, _, _ = theirs.step(action)
        assert terminated == their_terminated
        if terminated:  # Gymnasium pays no alive bonus for the step in which the walker falls
            break
        assert_allclose(reward, their_reward, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("env_id", PAIRS)
def test_same_trajectory(env_id, folder):
    theirs_id, options = PAIRS[env_id]
    ours = gymnasium.make(env_id).unwrapped
    theirs = gymnasium.make(theirs_id, **options).unwrapped
    (folder / "MUJOCO_LOG.TXT").unlink(missing_ok=True)  # Gymnasium's half-cheetah warns at every load
    rng = np.random.default_rng(0)
    ends = 0
    own, their = ours.reset(seed=1)[0], theirs.reset(seed=1)[0]
    for _ in range(200):
        assert_array_equal(own, their)
        assert_array_equal(ours.data.qpos, theirs.data.qpos)
        assert_array_equal(ours.data.qvel, theirs.data.qvel)
        action = rng.uniform(ours.action_space.low, ours.action_space.high).astype(np.float32)
        own, _, terminated, _, _ = ours.step(action)
        their, _, their_terminated, _, _ = theirs.step(action)
        assert terminated == their_terminated
        if terminated:
            ends += 1
            own, their = ours.reset()[0], theirs.reset()[0]
    assert ends > 0 or "HalfCheetah" in env_id or "Swimmer" in env_id


def test_humanoid_centre_of_mass():
    ours = gymnasium.make("metarl/HumanoidDir-v0", task=np.array([1.0, 0.0])).unwrapped
    theirs = gymnasium.make("Humanoid-v5").unwrapped
    ours.reset(seed=0)
    theirs.reset(seed=0)
    for _ in range(10):
        info = ours.step(np.full(17, 0.3))[4]
        their_info = theirs.step(np.full(17, 0.3))[4]
        assert_allclose(info["reward_velocity"], 1.25 * their_info["x_velocity"], rtol=1e-9, atol=1e-12)


def test_hopper_without_random_physics():
    from metarl_envs import FieldRange
    from metarl_envs.families.walkers import Hopper
    from metarl_envs.mujoco_envs import MujocoTaskEnv

    class HopperEnv(MujocoTaskEnv):
        family_type = Hopper

    # a range whose middle is the model as it is
    ours = HopperEnv(physics=[FieldRange("body_mass", 0.5, 2.0, log=True, shared=True)], task=np.ones(1))
    theirs = gymnasium.make("Hopper-v5").unwrapped
    own, their = ours.reset(seed=0)[0], theirs.reset(seed=0)[0]
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(60):
        assert_array_equal(own, their)
        action = rng.uniform(-1, 1, 3)
        own, reward, terminated, _, info = ours.step(action)
        their, their_reward, their_terminated, _, their_info = theirs.step(action)
        assert terminated == their_terminated
        assert_allclose(info["reward_velocity"], their_info["x_velocity"])
        if terminated:
            ends += 1
            own, their = ours.reset()[0], theirs.reset()[0]
        else:
            assert_allclose(reward, their_reward)
    assert ends > 0
