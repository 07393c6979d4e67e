"""Row i of a vector environment is the single environment seeded seed + i, to the bit."""

import gymnasium
import numpy as np
import pytest
from env_ids import IDS, MUJOCO_IDS, vector_and_singles
from gymnasium.vector import AutoresetMode
from numpy.testing import assert_array_equal

N, STEPS, LIMIT = 4, 40, 25


def actions_of(env, t):
    """Random actions, beyond the bounds too, in either order of memory."""
    actions = env.action_space.sample()
    if actions.dtype.kind == "i":
        return actions
    return np.asarray(2.0 * actions, order="F" if t % 2 else "C")


def assert_same_row(i, step, single_step):
    obs, rew, terminated, truncated, info = step
    assert_array_equal(obs[i], single_step[0])
    assert (rew[i], terminated[i], truncated[i]) == single_step[1:4]
    for name, value in single_step[4].items():
        assert info[f"_{name}"][i] and info[name][i] == value, name


ENDING = ("AntVel", "AntDir", "AntGoal", "Walker2d", "Hopper", "Humanoid")


def start(env_id, mode, limit=LIMIT):
    env, singles = vector_and_singles(env_id, N, seed=5, autoreset_mode=mode, max_episode_steps=limit)
    env.action_space.seed(6)
    obs, _ = env.reset(seed=7)
    for i, single in enumerate(singles):
        assert_array_equal(obs[i], single.reset(seed=7 + i)[0])
    return env, singles


@pytest.mark.parametrize("env_id", IDS)
def test_next_step(env_id):
    env, singles = start(env_id, AutoresetMode.NEXT_STEP, limit=100)
    ended, terminations = np.zeros(N, np.bool_), 0
    for t in range(130):
        actions = actions_of(env, t)
        step = env.step(actions)
        for i, single in enumerate(singles):
            if ended[i]:
                assert_same_row(i, step, (single.reset()[0], 0.0, False, False, {}))
                assert not any(step[4][key][i] for key in step[4] if key.startswith("_"))
            else:
                assert_same_row(i, step, single.step(actions[i]))
        ended = step[2] | step[3]
        terminations += int(step[2].sum())
    assert terminations > 0 or not any(name in env_id for name in ENDING)


@pytest.mark.parametrize("env_id", IDS)
def test_same_step(env_id):
    env, singles = start(env_id, AutoresetMode.SAME_STEP)
    for t in range(STEPS):
        actions = actions_of(env, t)
        obs, rew, terminated, truncated, info = env.step(actions)
        for i, single in enumerate(singles):
            own = single.step(actions[i])
            if own[2] or own[3]:
                assert info["_final_obs"][i]
                assert_array_equal(info["final_obs"][i], own[0])
                for name, value in own[4].items():
                    assert info["final_info"][name][i] == value
                own = (single.reset()[0], *own[1:4], {})
            assert_same_row(i, (obs, rew, terminated, truncated, info), own)


@pytest.mark.parametrize("env_id", IDS)
def test_disabled_with_partial_resets(env_id):
    env, singles = start(env_id, AutoresetMode.DISABLED)
    rng = np.random.default_rng(8)
    ended = np.zeros(N, np.bool_)
    last = [single.reset(seed=7 + i)[0] for i, single in enumerate(singles)]
    flags = [(False, False)] * N
    for t in range(STEPS):
        if rng.random() < 0.3:  # also rows whose episode runs
            mask = rng.random(N) < 0.5
            if mask.any():
                seeds = rng.integers(100, size=N).tolist() if t % 2 else None
                obs, _ = env.reset(seed=seeds, options={"reset_mask": mask})
                for i in np.flatnonzero(mask):
                    last[i] = singles[i].reset(seed=seeds and seeds[i])[0]
                ended &= ~mask
                assert_array_equal(obs, np.stack(last))
        actions = actions_of(env, t)
        step = env.step(actions)
        for i, single in enumerate(singles):
            if ended[i]:
                assert_same_row(i, step, (last[i], 0.0, *flags[i], {}))
            else:
                own = single.step(actions[i])
                last[i], flags[i] = own[0], own[2:4]
                assert_same_row(i, step, own)
        ended = step[2] | step[3]


def test_navigation_ends_at_the_goal():
    env, singles = vector_and_singles("metarl/PointNavigation-v0", 2, seed=0)
    env.reset(seed=0)
    for i, single in enumerate(singles):
        single.reset(seed=i)
    for _ in range(7):
        actions = np.clip(env.unwrapped.tasks - env.unwrapped._state, -0.1, 0.1)
        step = env.step(actions)
        for i, single in enumerate(singles):
            if not single.unwrapped.__dict__.get("ended"):
                own = single.step(actions[i])
                assert_same_row(i, step, own)
                single.unwrapped.ended = own[2]
    assert all(single.unwrapped.ended for single in singles)


@pytest.mark.parametrize("env_id", MUJOCO_IDS)
def test_thread_count_does_not_matter(env_id):
    outcomes = []
    for threads in (1, 3):
        env = gymnasium.make_vec(env_id, num_envs=N, nthread=threads)
        env.set_tasks(env.sample_tasks(N, np.random.default_rng(0)))
        env.action_space.seed(0)
        env.reset(seed=0)
        outcomes.append([env.step(env.action_space.sample())[:2] for _ in range(5)])
    for one, other in zip(*outcomes, strict=True):
        assert_array_equal(one[0], other[0])
        assert_array_equal(one[1], other[1])
