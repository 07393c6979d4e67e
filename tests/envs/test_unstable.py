"""A simulation that diverges is counted and truncated; it is never silently reset, and nothing is printed."""

import gymnasium
import numpy as np
import pytest
from env_ids import MUJOCO_IDS
from gymnasium.vector import AutoresetMode
from numpy.testing import assert_array_equal


@pytest.mark.parametrize("env_id", MUJOCO_IDS)
def test_single(env_id, capfd):
    env = gymnasium.make(env_id).unwrapped
    before, _ = env.reset(seed=0)
    env.data.qvel[:] = 1e12
    obs, reward, terminated, truncated, info = env.step(np.zeros(env.action_space.shape))
    assert info["unstable"] and truncated and not terminated
    assert reward == 0.0
    assert_array_equal(obs, before)
    env.reset()
    assert "unstable" not in env.step(np.zeros(env.action_space.shape))[4]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", MUJOCO_IDS)
def test_vector(env_id, mode, capfd):
    env = gymnasium.make_vec(env_id, num_envs=3, autoreset_mode=mode)
    before, _ = env.reset(seed=0)
    env.unwrapped.batch.bind("qvel")[1] = 1e12
    actions = np.zeros(env.action_space.shape)
    obs, reward, terminated, truncated, info = env.step(actions)
    assert np.isfinite(obs).all() and reward[1] == 0.0
    assert truncated.tolist() == [False, True, False] and not terminated[1]
    if mode is AutoresetMode.SAME_STEP:
        assert info["final_info"]["unstable"].tolist() == [False, True, False]
        assert_array_equal(info["final_obs"][1], before[1])
    else:
        assert info["unstable"].tolist() == [False, True, False]
        assert_array_equal(obs[1], before[1])
    if mode is AutoresetMode.DISABLED:
        env.step(actions)
        env.reset(options={"reset_mask": truncated})
    obs, _, terminated, truncated, info = env.step(actions)
    assert not info.get("unstable", np.zeros(3)).any() and not truncated[1] and np.isfinite(obs).all()
    assert capfd.readouterr() == ("", "")


def test_not_a_number_is_caught(capfd):
    env = gymnasium.make_vec("metarl/AntVel-v0", num_envs=2, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    env.unwrapped.batch.bind("qpos")[0, 2] = np.nan
    obs, reward, _, truncated, info = env.step(np.zeros((2, 8)))
    assert info["unstable"].tolist() == truncated.tolist() == [True, False]
    assert np.isfinite(obs).all() and np.isfinite(reward).all()
    assert capfd.readouterr() == ("", "")
