"""Gymnasium's and stable-baselines3's own checks of every environment, tasks and random streams."""

import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from env_ids import IDS, vector_and_singles
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import vector as wrappers
from numpy.testing import assert_array_equal
from stable_baselines3.common.env_checker import check_env as sb3_check_env


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_check(env_id):
    env = gymnasium.make(env_id).unwrapped
    with warnings.catch_warnings():
        # simulated positions and velocities have no bounds, as in Gymnasium's own MuJoCo environments
        warnings.filterwarnings("ignore", message=".*A Box observation space m.*imum value is -?infinity")
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("env_id", IDS)
def test_stable_baselines_check(env_id):
    with warnings.catch_warnings():
        # the papers' action ranges: ±0.1 and ±0.2 in navigation, ±0.4 of the humanoid
        warnings.filterwarnings("ignore", message="We recommend you to use a symmetric and normalized Box action")
        sb3_check_env(gymnasium.make(env_id), skip_render_check=True)


@pytest.mark.parametrize("env_id", IDS)
def test_tasks(env_id):
    env = gymnasium.make_vec(env_id, num_envs=3)
    tasks = env.sample_tasks(50, np.random.default_rng(0))
    assert tasks.shape == (50, *env.task_space.shape) and tasks.dtype == np.float64
    assert_array_equal(tasks, env.sample_tasks(50, np.random.default_rng(0)))
    assert all(env.task_space.contains(task) for task in tasks)
    env.task_space.seed(0)
    task = env.task_space.sample()
    env.task_space.seed(0)
    assert env.task_space.contains(task) and np.array_equal(task, env.task_space.sample())
    assert len(np.unique(tasks, axis=0)) >= 2
    assert type(env.unwrapped.family).__name__ in repr(env.unwrapped.family)
    repr(env.task_space)


@pytest.mark.parametrize("env_id", IDS)
def test_tasks_differ_within_a_batch(env_id):
    options = {"sparse": False} if "Sparse" in env_id else {}
    env = gymnasium.make_vec(env_id, num_envs=40, **options)
    many = np.unique(env.sample_tasks(40, np.random.default_rng(0)), axis=0)
    tasks = np.repeat(many, 40 // len(many) + 1, axis=0)[:40]
    env.set_tasks(tasks)
    env.action_space.seed(0)
    env.reset(seed=[0] * 40)

    def step():  # the same action everywhere
        return env.step(np.repeat(env.action_space.sample()[:1], 40, axis=0))

    rewards = np.stack([step()[1] for _ in range(30)], axis=1)
    expected = 2 if len(many) > 2 else len(many)
    assert len(np.unique(rewards, axis=0)) >= expected
    if len(many) < 40:  # equal tasks, equal trajectories
        assert_array_equal(rewards[0], rewards[1])


@pytest.mark.parametrize("env_id", IDS)
def test_nothing_is_printed(env_id, capfd):
    for env in (gymnasium.make(env_id), gymnasium.make_vec(env_id, num_envs=2)):
        env.reset(seed=0)
        env.step(env.action_space.sample())
        env.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("env_id", IDS)
def test_environment_classes_can_be_pickled(env_id):
    for env in (gymnasium.make(env_id).unwrapped, gymnasium.make_vec(env_id, num_envs=1)):
        assert pickle.loads(pickle.dumps(type(env))) is type(env)


@pytest.mark.parametrize(
    ("env_id", "options", "size"),
    [
        ("metarl/HalfCheetahVel-v0", {"torso_position": True}, 20),
        ("metarl/AntVel-v0", {"include_position": True}, 29),
        ("metarl/AntDir-v0", {"directions": "any"}, 27),
        ("metarl/AntGoal-v0", {"goals": "disk", "terminate_when_unhealthy": False, "include_position": False}, 27),
        ("metarl/HumanoidDir-v0", {"observation": "state"}, 45),
        ("metarl/SparseNavigation-v0", {"sparse": False}, 2),
        ("metarl/Bandit-v0", {"arms": 50}, 1),
        ("metarl/TabularMDP-v0", {"states": 3, "actions": 2}, 3),
    ],
)
def test_variants_are_equal_in_single_and_vector(env_id, options, size):
    env, singles = vector_and_singles(env_id, 2, seed=0, **options)
    obs, _ = env.reset(seed=0)
    assert obs.shape == (2, size)
    env.action_space.seed(0)
    for i, single in enumerate(singles):
        assert_array_equal(obs[i], single.reset(seed=i)[0])
    for _ in range(8):
        actions = env.action_space.sample()
        obs, rew, terminated, truncated, _ = env.step(actions)
        for i, single in enumerate(singles):
            own = single.step(actions[i])
            assert_array_equal(obs[i], own[0])
            assert (rew[i], terminated[i], truncated[i]) == own[1:4]
        if (terminated | truncated).any():
            break


@pytest.mark.parametrize("env_id", IDS)
def test_wrappers(env_id):
    env = gymnasium.make_vec(env_id, num_envs=3, max_episode_steps=4)
    if isinstance(env.single_action_space, gymnasium.spaces.Box):
        env = wrappers.ClipAction(wrappers.RescaleAction(env, np.float32(-1), np.float32(1)))
    env = wrappers.NormalizeObservation(wrappers.RecordEpisodeStatistics(env))
    obs, _ = env.reset(seed=0)
    episodes = 0
    for _ in range(10):
        obs, _, _, _, infos = env.step(env.action_space.sample())
        assert env.observation_space.contains(obs.astype(env.observation_space.dtype))
        episodes += int(infos["_episode"].sum()) if "episode" in infos else 0
    assert episodes >= 3


@pytest.mark.parametrize("env_id", [name for name in IDS if not any(n in name for n in ("Point", "Sparse", "Grid"))])
def test_adjacent_seeds_are_unrelated(env_id):
    n = 2000 if any(name in env_id for name in ("Corner", "Bandit", "MDP")) else 300
    env = gymnasium.make_vec(env_id, num_envs=n)
    obs, _ = env.reset(seed=0)
    if not np.ptp(obs, axis=0).any():  # a fixed start: the randomness is in the reward
        env.action_space.seed(0)
        actions = np.zeros(n, dtype=np.int64)
        obs = env.step(actions)[1][:, None]
    column = obs[:, np.argmax(np.ptp(obs, axis=0))]
    correlation = np.corrcoef(column[:-1], column[1:])[0, 1]
    assert abs(correlation) < 4.0 / np.sqrt(n)


@pytest.mark.parametrize("env_id", ["metarl/CornerNavigation-v0", "metarl/TabularMDP-v0", "metarl/SwimmerVel-v0"])
def test_seeding(env_id):
    """A seed starts a row's stream anew, no seed continues it, and NumPy's integers are seeds."""
    env = gymnasium.make_vec(env_id, num_envs=2)
    env.action_space.seed(0)
    actions = env.action_space.sample()

    def episode(**options):
        obs, _ = env.reset(**options)
        steps = [env.step(actions) for _ in range(5)]
        return np.concatenate([obs.ravel(), *(step[1] for step in steps)])

    first = episode(seed=3)
    assert not np.array_equal(first, episode())
    assert_array_equal(first, episode(seed=np.int64(3)))
    assert_array_equal(first, episode(seed=np.array([3, 4])))
    assert_array_equal(first, episode(seed=[3, 4]))
    second = episode()
    episode(seed=3)
    assert_array_equal(second, episode(seed=[None, None]))


@pytest.mark.parametrize("env_id", IDS)
def test_returned_arrays_are_copies(env_id):
    env = gymnasium.make_vec(env_id, num_envs=2)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    kept = [(obs, obs.copy())]
    for _ in range(5):
        step = env.step(env.action_space.sample())
        kept += [(array, array.copy()) for array in step[:4]]
        kept += [(array, array.copy()) for array in step[4].values()]
    for array, copy in kept:
        assert_array_equal(array, copy)
