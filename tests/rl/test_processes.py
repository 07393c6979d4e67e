"""Environments in a few processes do what those in one do."""

import multiprocessing
import signal
import threading
import time

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from own_envs import Corridor

import metarl
from metarl import UserError
from metarl.rl.environments import make_vec
from metarl.rl.processes import joined
from metarl.threads import cpus


class Telling(Corridor):
    """Tells what is not the same in each step, and sometimes not at all."""

    def step(self, action):
        obs, reward, ended, truncated, _ = super().step(action)
        info = {"success": bool(self.x > 2), "where": {"x": float(self.x)}, "path": np.array([self.x, self.t])}
        return obs, reward, ended, truncated, info | ({"named": f"at {self.x}"} if self.x == 1 else {})


def same(one, other):
    """Compare what a step returned, infos included."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, tuple | list):
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        assert one.dtype == other.dtype and one.shape == other.shape
        if one.dtype == object:
            same([x for x in one if isinstance(x, np.ndarray)], [x for x in other if isinstance(x, np.ndarray)])
            assert [x for x in one if isinstance(x, str)] == [x for x in other if isinstance(x, str)]
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.SAME_STEP])
def test_seven_rows_in_three_processes_do_what_they_do_in_one(mode):
    """One of the blocks is smaller, and episodes end at different steps."""
    vectors = [
        make_vec(Telling, 7, horizon=9, autoreset_mode=mode, vectorization=how, processes=3)
        for how in ("sync", "async")
    ]
    rng = np.random.default_rng(0)
    for env in vectors:
        env.set_tasks(np.linspace(-1, 1, 7)[:, None])
    for seed in (5, list(range(9, 16))):
        same(*(env.reset(seed=seed) for env in vectors))
        for _ in range(25):
            actions = rng.integers(2, size=7)
            same(*(env.step(actions) for env in vectors))
    for env in vectors:
        env.close()


def test_no_more_processes_than_cpus_or_as_told():
    before = set(multiprocessing.active_children())
    for wanted, number in ((None, min(6, cpus())), (1, 1), (4, 4), (50, 6)):
        env = make_vec(Corridor, 6, horizon=5, vectorization="async", processes=wanted)
        env.set_tasks(np.ones((6, 1)))
        assert env.reset(seed=0)[0].shape == (6, 1)
        assert len(set(multiprocessing.active_children()) - before) == number
        env.close()
        assert set(multiprocessing.active_children()) == before


def test_a_run_is_the_same_in_any_number_of_processes():
    runs = []
    for how in ({"vectorization": "sync"}, {"vectorization": "async", "processes": 3}):
        model = metarl.MAML(Corridor, tasks=2, episodes=4, horizon=6, hidden=(4,), eval_tasks=2, eval_steps=1, **how)
        model.learn(2)
        runs.append(metarl.core.params.flatten(model.trainer.params.values()).tolist())
        model.close()
    assert runs[0] == runs[1]


def test_too_few_processes_are_refused():
    with pytest.raises(UserError, match="processes must be at least 1, got 0"):
        metarl.MAML(Corridor, horizon=5, vectorization="async", processes=0)


def test_an_error_shows_where_it_comes_from():
    class Wrong(Corridor):
        def step(self, action):
            raise LookupError("no such place")

    env = make_vec(Wrong, 2, horizon=5, vectorization="async")
    env.set_tasks(np.ones((2, 1)))
    env.reset(seed=0)
    with pytest.raises(LookupError, match="no such place") as found:
        env.step(np.zeros(2, int))
    assert 'raise LookupError("no such place")' in "".join(found.value.__notes__)
    env.reset(seed=1)  # it lives on
    env.close()


def test_what_was_interrupted_leaves_no_answers_behind():
    class Slow(Corridor):
        def step(self, action):
            time.sleep(0.2)
            return super().step(action)

    def stop(*args):
        raise KeyboardInterrupt

    env = make_vec(Slow, 3, horizon=5, vectorization="async", processes=2)
    env.set_tasks(np.ones((3, 1)))
    first = env.reset(seed=3)[0]
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(KeyboardInterrupt):
        env.step(np.ones(3, int))
    signal.signal(signal.SIGALRM, before)
    np.testing.assert_array_equal(env.reset(seed=3)[0], first)
    np.testing.assert_array_equal(env.step(np.ones(3, int))[0], first + 1)
    env.close()


def test_infos_of_which_only_some_have_an_entry():
    infos = [{}, {"a": np.array([1.5, 2.5]), "_a": np.array([True, True])}]
    found = joined(infos, [1, 2])
    assert found["a"].tolist() == [0.0, 1.5, 2.5] and found["_a"].tolist() == [False, True, True]
    assert joined([{"o": np.array(["x"], object)}, {}], [1, 1])["o"].tolist() == ["x", None]


def test_an_id_that_cannot_be_sent_is_refused_by_name():
    lock = threading.Lock()
    gymnasium.register("Held-v0", lambda: Corridor(str(lock)), max_episode_steps=5)
    try:
        with pytest.raises(UserError, match="environment 'Held-v0' cannot be sent to another process"):
            make_vec("Held-v0", 2, vectorization="async", processes=2)
    finally:
        del gymnasium.registry["Held-v0"]


def test_ids_that_a_function_makes_are_known_in_the_processes():
    gymnasium.register("Here-v0", lambda: Corridor(), max_episode_steps=5)
    try:
        for source in (lambda: gymnasium.make("Here-v0"), lambda: gymnasium.make("metarl/PointNavigation-v0")):
            vec = make_vec(source, 2, horizon=5, vectorization="async", processes=2)
            vec.set_tasks(vec.sample_tasks(2, np.random.default_rng(0)))
            vec.reset(seed=0)
            vec.close()
    finally:
        del gymnasium.registry["Here-v0"]
