"""Pictures of single and vector environments, without a screen."""

import warnings

import gymnasium
import numpy as np
import pytest
from env_ids import IDS, MUJOCO_IDS
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from numpy.testing import assert_array_equal

SIZE = 64

VECTORS = ("HalfCheetahCrippled", "AntCrippled", "AntGoal", "HopperRandParams")
"""The MuJoCo families whose vectors are drawn too: making an OpenGL context takes a third of a second."""


@pytest.fixture(scope="module", autouse=True)
def opengl():
    """Skip where there is no OpenGL without a screen."""
    env = gymnasium.make("metarl/SwimmerVel-v0", render_mode="rgb_array", render_size=SIZE)
    env.reset()
    try:
        env.render()
    except Exception as error:  # whatever the driver raises
        pytest.skip(f"no OpenGL: {error!r}")
    env.close()


@pytest.mark.parametrize("env_id", IDS)
def test_single_and_vector_show_the_same(env_id):
    options = {"render_mode": "rgb_array", "render_size": SIZE}
    env = gymnasium.make_vec(env_id, num_envs=3, render_index=2, max_episode_steps=50, **options)
    tasks = env.sample_tasks(3, np.random.default_rng(0))
    env.set_tasks(tasks)
    single = gymnasium.make(env_id, max_episode_steps=50, **options)
    single.unwrapped.set_task(tasks[2])
    env.reset(seed=0)
    single.reset(seed=2)
    assert env.metadata["render_fps"] == single.metadata["render_fps"] > 0
    before = single.render()
    assert before.shape == (SIZE, SIZE, 3) and before.dtype == np.uint8
    if env_id not in MUJOCO_IDS or any(name in env_id for name in VECTORS):
        (frame,) = env.render()
        assert_array_equal(frame, before)
    actions = np.ones_like(env.action_space.sample())
    for _ in range(10):
        env.step(actions)
        single.step(actions[2])
    after = single.render()
    if "Bandit" not in env_id:
        assert not np.array_equal(before, after)
    if env_id not in MUJOCO_IDS:  # elsewhere derived positions are one physics step apart
        assert_array_equal(env.render()[0], after)
    if "RandParams" not in env_id:  # the task is visible
        frames = [before]
        for task in env.sample_tasks(3, np.random.default_rng(1)):
            single.unwrapped.set_task(task)
            single.reset(seed=2)
            frames.append(single.render())
        assert len(np.unique(np.stack(frames), axis=0)) > 1
    env.close()
    single.close()


def test_pictures_do_not_touch_the_simulation():
    outcomes = []
    for looked in (False, True):
        env = gymnasium.make_vec("metarl/AntCrippled-v0", num_envs=2, render_mode="rgb_array", render_size=SIZE)
        env.reset(seed=0)
        for _ in range(10):
            obs, *_ = env.step(np.ones((2, 8)))
            if looked:
                env.render()
        outcomes.append(obs)
        env.close()
    assert_array_equal(*outcomes)


def test_all_simulations():
    env = gymnasium.make_vec("metarl/Bandit-v0", num_envs=3, render_mode="rgb_array", render_index=None)
    env.reset(seed=0)
    assert [frame.shape for frame in env.render()] == [(320, 320, 3)] * 3


def test_bad_render_arguments():
    for make, options in ((gymnasium.make, {}), (gymnasium.make_vec, {"num_envs": 2})):
        with pytest.raises(ValueError, match="Bandit: render_mode='ascii'; expected None or one of 'rgb_array'"):
            # Gymnasium itself warns of a mode that is not in the metadata
            with pytest.warns(UserWarning) if make is gymnasium.make else pytest.MonkeyPatch.context():
                make("metarl/Bandit-v0", render_mode="ascii", **options)
    with pytest.raises(ValueError, match=r"Bandit: render_index=2; expected None or one of 0..1"):
        gymnasium.make_vec("metarl/Bandit-v0", num_envs=2, render_index=2)


@pytest.mark.parametrize("env_id", ["metarl/SparseNavigation-v0", "metarl/AntGoal-v0"])
def test_gymnasium_check_of_render(env_id):
    env = gymnasium.make(env_id).unwrapped
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*A Box observation space m.*imum value is -?infinity")
        check_env(env)


def test_render_without_a_mode_or_a_reset():
    env = gymnasium.make_vec("metarl/Bandit-v0", num_envs=2)
    with pytest.warns(UserWarning, match="without a render mode"):
        assert env.render() is None
    env = gymnasium.make_vec("metarl/Bandit-v0", num_envs=2, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="Bandit: call reset"):
        env.render()
