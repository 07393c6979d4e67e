"""Success: any step of an episode counts, steps after its end do not; and evaluation draws from the test tasks."""

import csv
import dataclasses
import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from numpy.testing import assert_array_equal

import metarl
from metarl.cli.tables import curve_table
from metarl.core import params as P
from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.rl.environments import make_vec
from metarl.rl.policies import make_policy
from metarl.rl.sampler import Sampler
from metarl.seeding import TEST, TRAINING, VALIDATION, draw_tasks, task_rngs

HORIZON = 6
SMALL = {"tasks": 3, "episodes": 2, "horizon": HORIZON, "hidden": (4,), "eval_tasks": 4, "eval_episodes": 2}


class Clock(gymnasium.Env):
    """Solved at the step that the last digit of the task names, and at no other; tasks from 10 on end after 3 steps."""

    observation_space = spaces.Box(-1.0, 1.0, (1,))
    action_space = spaces.Box(-1.0, 1.0, (1,))
    task_space = spaces.Box(0.0, 20.0, (1,), np.float64)

    def sample_tasks(self, n, rng, split="train"):
        return rng.integers(0, 5, size=(n, 1)) + (0.0 if split == "train" else 10.0)

    def set_task(self, task):
        self.task = float(task[0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        ended = self.task >= 10 and self.t == 3
        return np.zeros(1, np.float32), 1.0, ended, False, {"success": self.t == self.task % 10}


class Silent(Clock):
    """Says nothing of success, and knows no sets of tasks."""

    def sample_tasks(self, n, rng):
        return rng.integers(0, 5, size=(n, 1)).astype(np.float64)

    def step(self, action):
        return (*super().step(action)[:4], {})


def play(source, tasks):
    env = make_vec(source, 2 * len(tasks), horizon=HORIZON)
    net = make_policy(env.single_observation_space, env.single_action_space, (4,), 0)
    sampler = Sampler(env, net, len(tasks), 2, HORIZON)
    params = P.stack(P.params_of(net), len(tasks))
    return sampler.sample(params, np.array(tasks)[:, None], task_rngs(0, 0, 0, range(len(tasks)))(0))


def test_any_step_counts_until_the_episode_ends():
    # never; in the first, a middle and the last step; in the last step before the end; after it
    episodes = play(Clock, [0.0, 1.0, 4.0, 6.0, 13.0, 14.0])
    assert_array_equal(episodes.success[:, 0], [0, 1, 1, 1, 1, 0])
    assert_array_equal(episodes.success[:, 0], episodes.success[:, 1])
    assert_array_equal(episodes.select_tasks([1, 0]).success, episodes.success[[1, 0]])
    assert_array_equal(episodes.returns[:, 0], [6, 6, 6, 6, 3, 3])


def test_without_a_word_of_success_there_is_none():
    assert play(Silent, [0.0, 1.0]).success is None


def test_training_and_evaluation_draw_from_their_sets():
    env = make_vec(Clock, 2, horizon=HORIZON)
    assert draw_tasks(env, 30, 0, TRAINING).max() < 10
    for stream in (VALIDATION, TEST):
        assert draw_tasks(env, 30, 0, stream).min() >= 10
    assert draw_tasks(make_vec(Silent, 2, horizon=HORIZON), 30, 0, TEST).max() < 10
    with pytest.raises(UserError, match="split must be 'train', 'validation' or 'test', got 'dev'"):
        env.sample_tasks(1, np.random.default_rng(0), "dev")


def test_each_stream_asks_for_its_set_through_a_wrapper():
    asked = []

    class Asked(gymnasium.Wrapper):
        def sample_tasks(self, n, rng, **which):
            asked.append(which)
            return self.unwrapped.sample_tasks(n, rng, **which)

    env = make_vec(lambda: Asked(Clock()), 2, horizon=HORIZON)
    for stream in (TRAINING, VALIDATION, TEST):
        draw_tasks(env, 3, 0, stream)
    assert asked == [{"split": split} for split in ("train", "validation", "test")]


def test_success_in_logs_curve_and_table(tmp_path):
    model = metarl.MAML(Clock, log_dir=tmp_path / "run", seed=1, **SMALL)
    model.learn(iterations=2)
    with (tmp_path / "run" / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {f"{group}/success_step{k}" for group in ("meta", "eval") for k in (0, 1)} <= set(rows[0])
    curve = metarl.adaptation_curve(model, steps=1, tasks=5, episodes=2)
    tasks = draw_tasks(model.trainer.inner_loop, 5, 0, TEST)
    # solved where the test task names one of the three steps before its end
    assert_array_equal(curve.success[:, 0], ((tasks[:, 0] % 10 >= 1) & (tasks[:, 0] % 10 <= 3)).astype(float))
    assert curve_table(curve).columns[3].header == "success"
    found = json.loads((tmp_path / "run" / "curve.json").read_text())
    assert found["success"]["measure"] == "success"
    assert len(found["success"]["mean"]) == len(found["mean"])


class OnlyWhenSolved(Clock):
    """Pays for actions above 0, and tells of success where an episode has earned enough, else of nothing."""

    action_space = spaces.Box(-10.0, 10.0, (1,))

    def reset(self, *, seed=None, options=None):
        self.earned = 0.0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.earned += float(action[0])
        observation, _, ended, truncated, _ = super().step(action)
        return observation, float(action[0]), ended, truncated, {"success": True} if self.earned > 8 else {}


def test_success_that_is_told_of_only_where_there_is_some_counts_in_its_step(tmp_path):
    sizes = {**SMALL, "inner_lr": 3.0, "init_std": 0.1, "hidden": (), "eval_steps": 2}
    model = metarl.MAML(OnlyWhenSolved, log_dir=tmp_path / "run", seed=1, **sizes)
    told = model.trainer.workers.collect(P.flatten(model.trainer.params.values()), 0)["success"]
    assert [phase.mean() for phase in told] == [0.0, 1.0]
    model.learn(iterations=1)
    curve = metarl.adaptation_curve(model, steps=2, tasks=4, episodes=2)
    assert curve.success.shape == curve.per_task.shape
    assert curve.success[:, 0].max() == 0.0 and curve.success[:, 1:].max() == 1.0
    part = dataclasses.replace(curve, success=None)
    assert_array_equal(AdaptationCurve.joined([part, curve]).success, [*np.zeros_like(curve.success), *curve.success])
    model.close()


def test_runs_without_success_are_as_before(tmp_path):
    model = metarl.MAML(Silent, log_dir=tmp_path / "run", seed=1, **SMALL)
    model.learn(iterations=1)
    assert "success" not in (tmp_path / "run" / "progress.csv").read_text()
    curve = metarl.adaptation_curve(model, steps=1, tasks=2, episodes=1)
    assert curve.success is None and curve.of_success is None and "success" not in curve.as_dict()
    assert len(curve_table(curve).columns) == 3


def test_interval_of_a_share_stays_within_0_and_1():
    share = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    curve = AdaptationCurve("env", np.zeros((3, 2)), 0, success=share)
    joined = AdaptationCurve.joined([curve, curve])
    assert joined.success.shape == (6, 2)
    low, high = curve.of_success.interval
    assert low.min() >= 0 and high.max() <= 1
    assert curve.of_success.mean == pytest.approx([1 / 3, 2 / 3])


def test_a_time_limit_of_ones_own():
    assert play(lambda: TimeLimit(Clock(), 3), [4.0, 3.0]).success[:, 0].tolist() == [0.0, 1.0]


def test_the_accuracy_is_a_share_too():
    share = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    low, high = AdaptationCurve("data", share, 0, measure="accuracy").interval
    assert low.min() >= 0 and high.max() <= 1
