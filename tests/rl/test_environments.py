"""From ids and factories to vector environments with tasks, and what is refused."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from own_envs import Corridor, Endless

import metarl
from metarl import UserError
from metarl.rl.environments import make_vec


def test_an_id_of_ours_gives_its_vector_environment():
    env = make_vec("metarl/PointNavigation-v0", 6, horizon=7)
    assert env.num_envs == 6
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert env.max_episode_steps == 7
    assert make_vec("metarl/HalfCheetahVel-v0", 2).max_episode_steps == 200


def test_options_reach_the_environment():
    env = make_vec("metarl/HalfCheetahVel-v0", 2, low=1.0, high=3.0)
    assert env.sample_tasks(50, np.random.default_rng(0)).min() >= 1.0


def test_each_row_gets_its_own_task():
    env = make_vec(Corridor, 3, horizon=5)
    env.set_tasks(np.array([[1.0], [-1.0], [0.5]]))
    env.reset(seed=[4, 4, 4])
    _, reward, *_ = env.step(np.array([1, 1, 1]))
    assert reward[0] == -reward[1] == 2 * reward[2]


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("metarl/PointNavigaton-v0", {}, "did you mean 'metarl/PointNavigation-v0'"),
        ("metarl/PointNavigation-v0", {"goal_rang": 1}, "unexpected keyword argument 'goal_rang'"),
        ("metarl/PointNavigation-v0", {"goal_range": -1}, "goal_range must be positive"),
        ("CartPole-v1", {}, "lacks task_space, sample_tasks, set_task"),
        (Endless, {}, "no time limit; give a horizon"),
        (lambda: gymnasium.make("Pendulum-v1"), {}, "lacks task_space"),
    ],
)
def test_what_cannot_be_used_is_named(source, options, message):
    with pytest.raises(UserError, match=message):
        make_vec(source, 2, **options)


@pytest.mark.parametrize("kind", [metarl.MAML, metarl.RL2])
def test_spaces_that_no_policy_has_are_named(kind):
    class Named(Corridor):
        observation_space = spaces.Dict({"x": spaces.Box(-9, 9, (1,))})

    class Counted(Corridor):
        action_space = spaces.Box(0, 3, (1,), np.int64)

    with pytest.raises(UserError, match="observations must be a Box, got Dict"):
        kind(Named, horizon=5)
    with pytest.raises(UserError, match="actions must be a Box of floats or Discrete, got Box"):
        kind(Counted, horizon=5)


def test_sample_tasks_of_the_wrong_shape_is_named():
    class Wrong(Corridor):
        def sample_tasks(self, n, rng):
            return np.zeros(n)

    class Wide(Corridor):
        def sample_tasks(self, n, rng):
            return np.zeros((n, 2))

    for kind, shape in ((Wrong, r"\(4,\)"), (Wide, r"\(4, 2\)")):
        with pytest.raises(UserError, match=rf"must return an array \[4, 1\], got shape {shape}"):
            make_vec(kind, 2, horizon=3).sample_tasks(4, np.random.default_rng(0))
