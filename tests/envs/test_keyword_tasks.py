"""Task distributions made of existing Gymnasium environments."""

import gymnasium
import numpy as np
import pytest
from metarl_envs import AttributeTasks, KeywordTasks
from numpy.testing import assert_array_equal

POLE = {"length": (0.3, 0.8), "gravity": (8.0, 12.0)}


def update_pole(env):
    env.polemass_length = env.masspole * env.length


def make_pole():
    return AttributeTasks(gymnasium.make("CartPole-v1"), POLE, update_pole)


def test_attributes():
    env = make_pole()
    tasks = env.sample_tasks(100, np.random.default_rng(0))
    assert tasks.shape == (100, 2)
    assert (tasks.min(axis=0) >= [0.3, 8.0]).all() and (tasks.max(axis=0) <= [0.8, 12.0]).all()
    env.set_task(tasks[0])
    by_hand = gymnasium.make("CartPole-v1")
    by_hand.unwrapped.length, by_hand.unwrapped.gravity = tasks[0]
    by_hand.unwrapped.polemass_length = by_hand.unwrapped.masspole * tasks[0, 0]
    assert_array_equal(env.reset(seed=0)[0], by_hand.reset(seed=0)[0])
    for action in (0, 1, 1, 0, 1, 0):
        assert_array_equal(env.step(action)[0], by_hand.step(action)[0])


def test_keywords():
    env = KeywordTasks("Pendulum-v1", {"g": (5.0, 15.0)}, max_episode_steps=50)
    outcomes = []
    for g in (6.0, 14.0):
        env.set_task(np.array([g]))
        assert env.unwrapped.g == g
        env.reset(seed=0)
        outcomes.append([env.step(np.zeros(1, np.float32))[0] for _ in range(50)])
        by_hand = gymnasium.make("Pendulum-v1", g=g)
        by_hand.reset(seed=0)
        assert_array_equal(outcomes[-1], [by_hand.step(np.zeros(1, np.float32))[0] for _ in range(50)])
    assert not np.array_equal(*outcomes)
    assert env.step(np.zeros(1, np.float32))[3]  # the time limit survives a new task


def test_a_new_task_does_not_disturb_the_random_stream():
    streams = []
    for change in (False, True):
        env = KeywordTasks("Pendulum-v1", {"g": (5.0, 15.0)})
        env.reset(seed=3)
        if change:
            env.set_task(np.array([7.0]))
        streams.append(env.reset()[0])
    assert_array_equal(*streams)


def test_in_a_vector_of_gymnasium():
    env = gymnasium.vector.SyncVectorEnv([make_pole] * 3)
    for single, task in zip(env.envs, make_pole().sample_tasks(3, np.random.default_rng(0)), strict=True):
        single.set_task(task)
    env.reset(seed=[0, 0, 0])
    for _ in range(5):
        obs, *_ = env.step(np.ones(3, dtype=np.int64))
    assert len(np.unique(obs, axis=0)) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttributeTasks(gymnasium.make("CartPole-v1"), {"lenght": (0.3, 0.8)}), "CartPole-v1: .*'length'"),
        (lambda: AttributeTasks(gymnasium.make("CartPole-v1"), {"zzz": (0.3, 0.8)}), "it has .*gravity"),
        (lambda: AttributeTasks(gymnasium.make("CartPole-v1"), {"length": (1.0, 0.8)}), "low must be less than high"),
        (lambda: AttributeTasks(gymnasium.make("CartPole-v1"), {}), "at least one range"),
        (lambda: KeywordTasks("Pendulum-v1", {"gee": (5.0, 15.0)}), "Pendulum-v1 does not take .* gee"),
        (lambda: make_pole().set_task(np.array([0.1, 9.0])), r"CartPole-v1: task \[0.1, 9.0\] is outside"),
        (lambda: make_pole().set_task(np.zeros(3)), r"CartPole-v1: task \[0.0, 0.0, 0.0\] is outside"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
