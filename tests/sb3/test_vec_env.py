"""stable-baselines3 on our vector environments, as its own wrappers and PPO see them."""

import gymnasium
import metarl_envs  # noqa: F401
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecCheckNan, VecMonitor, VecNormalize
from walks import Ends

from metarl import UserError
from metarl.rl.environments import make_vec
from metarl.sb3.vec_env import SB3VecEnv

NAVIGATION = "metarl/PointNavigation-v0"


def vector(n=4, horizon=6, env_id=NAVIGATION, **options):
    return gymnasium.make_vec(env_id, n, max_episode_steps=horizon, autoreset_mode="SameStep", **options)


def test_steps_are_those_of_the_vector_environment_with_what_sb3_wants_to_know():
    env, twin = SB3VecEnv(vector()), vector()
    tasks = np.array([[0.3, 0.3], [0.1, 0.0], [-0.3, 0.2], [0.5, 0.5]])
    for e in (env.vector, twin.unwrapped):
        e.set_tasks(tasks)
    env.seed(5)
    assert np.array_equal(env.reset(), twin.reset(seed=5)[0])
    ended = 0
    for _ in range(13):
        action = np.tile([[0.05, 0.0]], (4, 1))
        obs, rewards, dones, infos = env.step(action)
        expected, reward, terminated, truncated, found = twin.step(action)
        assert np.array_equal(obs, expected)
        assert np.array_equal(rewards, reward.astype(np.float32))
        assert np.array_equal(dones, terminated | truncated)
        for i in np.flatnonzero(dones):
            ended += 1
            assert np.array_equal(infos[i]["terminal_observation"], found["final_obs"][i])
            assert infos[i]["TimeLimit.truncated"] == (truncated[i] and not terminated[i])
            assert not obs[i].any()  # the new episode starts at the origin
    assert ended >= 8  # row 1 reaches its goal after 2 steps, the others run out of time


def test_tasks_can_be_set_drawn_and_observed():
    env = SB3VecEnv(vector(), resample=np.random.default_rng(0), observe_task=True)
    first = env.reset()
    assert env.observation_space.shape == (4,)
    assert np.array_equal(first[:, 2:], env.vector.tasks)
    for _ in range(6):
        obs, _, dones, infos = env.step(np.zeros((4, 2)))
    assert dones.all()
    assert np.array_equal(infos[0]["terminal_observation"][2:], first[0, 2:])
    assert not np.array_equal(obs[:, 2:], first[:, 2:])
    env.env_method("set_task", [0.1, 0.2], indices=[1, 3])
    assert np.array_equal(env.vector.tasks[[1, 3]], [[0.1, 0.2]] * 2)


def test_ppo_learns_through_sb3s_wrappers():
    """One fixed goal: standing still returns about -6 in 20 steps, walking straight there -1."""
    inner = SB3VecEnv(vector(16, 20))
    inner.vector.set_tasks(np.tile([[0.3, 0.0]], (16, 1)))
    env = VecNormalize(VecCheckNan(VecMonitor(inner), raise_exception=True), norm_obs=False)
    model = PPO("MlpPolicy", env, n_steps=40, batch_size=160, learning_rate=3e-3, seed=0, device="cpu")
    model.learn(640)
    before = np.mean([info["r"] for info in model.ep_info_buffer])
    model.learn(15_000, reset_num_timesteps=False)
    assert np.mean([info["r"] for info in model.ep_info_buffer]) > before + 1.5


def test_another_autoreset_mode_is_refused():
    with pytest.raises(UserError, match="SameStep"):
        SB3VecEnv(gymnasium.make_vec(NAVIGATION, 2))


class Aimed(gymnasium.Env):
    """Takes its task at a reset, and shows it: users' environments may."""

    observation_space = gymnasium.spaces.Box(-100.0, 100.0, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    task_space = gymnasium.spaces.Box(0.0, 100.0, (1,), np.float64)

    def sample_tasks(self, n, rng):
        return rng.uniform(0.0, 100.0, (n, 1))

    def set_task(self, task):
        self.task = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.aim, self.left = np.array(self.task), 2 + int(self.task[0]) % 3
        return self.aim, {}

    def step(self, action):
        self.left -= 1
        return self.aim, 0.0, self.left == 0, False, {}


@pytest.mark.parametrize("how", [{"vectorization": "sync"}, {"vectorization": "async", "processes": 2}])
def test_the_task_shown_is_the_one_played_also_where_it_counts_from_the_next_reset_on(how):
    inner = make_vec(Aimed, 3, horizon=9, autoreset_mode=AutoresetMode.SAME_STEP, **how)
    env = SB3VecEnv(inner, resample=np.random.default_rng(0), observe_task=True)
    obs, seen = env.reset(), set()
    for _ in range(12):
        assert np.array_equal(obs[:, 0], obs[:, 1])
        seen.update(obs[:, 0])
        obs, _, dones, infos = env.step(np.zeros((3, 1)))
        for row in np.flatnonzero(dones):
            last = infos[row]["terminal_observation"]
            assert last[0] == last[1] != obs[row, 0]
    assert len(seen) > 9
    env.close()


def test_rows_in_the_middle_of_an_episode_keep_their_task_as_it_is():
    given = []

    class Noted(Ends):
        def set_task(self, task):
            given.append(float(task[0]))
            super().set_task(task)

    env = SB3VecEnv(
        make_vec(Noted, 4, horizon=20, autoreset_mode=AutoresetMode.SAME_STEP), resample=np.random.default_rng(0)
    )
    env.seed(1)
    env.reset()
    ended = 0
    for _ in range(12):
        given.clear()
        _, _, done, _ = env.step(np.zeros((4, 1)))
        assert len(given) == done.sum()
        ended += done.sum()
    assert ended
    given.clear()
    env.env_method("set_task", [2.0], indices=[3])
    assert given == [2.0]
    env.close()


def test_tasks_of_meta_world_begin_at_the_reset():
    pytest.importorskip("metaworld", reason="Meta-World is not installed")
    env = make_vec("metarl/MetaWorldML1-v0", 2, horizon=4, autoreset_mode=AutoresetMode.SAME_STEP)
    rows = SB3VecEnv(env, resample=np.random.default_rng(0))
    rows.seed(0)
    rows.reset()
    before = rows._tasks()
    for _ in range(4):
        rows.step(np.zeros((2, 4)))
    assert not np.array_equal(rows._tasks(), before)
    rows.env_method("set_task", before[0], indices=[1])
    assert np.array_equal(rows._tasks()[1], before[0])
    rows.close()
