"""ML1 and ML10 against the package's own environments: goals, physics, observations, rewards and successes."""

import importlib
import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from metarl_envs.families.metaworld import package
from metarl_envs.families.metaworld.adaptor import package_env, package_goals
from metarl_envs.families.metaworld.scenes import SCENES, find_scene
from numpy.testing import assert_allclose, assert_array_equal
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from metarl.sb3.vec_env import SB3VecEnv
from metarl.seeding import TEST, TRAINING, VALIDATION, draw_tasks

try:
    package.assets()
except ValueError as missing:
    pytest.skip(str(missing), allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore:Constant.s. may be too high:UserWarning")  # of the experts

ML1, ML10 = "metarl/MetaWorldML1-v0", "metarl/MetaWorldML10-v0"
LISTED = {"peg-insert-side": "PegInsertionSide"}


def expert(name: str):
    """Return the package's scripted expert of a class."""
    words = LISTED.get(name, name.title().replace("-", ""))
    return getattr(importlib.import_module("metaworld.policies"), f"Sawyer{words}V3Policy")()


def package_at(name: str, vector: np.ndarray):
    """Return the package's environment at the start of a task, and its observation."""
    env = package_env(name)
    env._last_rand_vec, env._set_task_called = vector.copy(), True
    return env, env.reset()[0]


LENGTHS = [
    *(pytest.param(name, 500, marks=[pytest.mark.slow] * (name != "reach")) for name in SCENES),
    *((name, 60) for name in SCENES if name != "reach"),
]


@pytest.mark.parametrize(("name", "steps"), LENGTHS)
def test_equals_the_package(name, steps):
    """Row 0 is played by the scripted expert, row 1 at random, row 2 by whims that last."""
    env = gymnasium.make_vec(ML1, num_envs=3, task=name)
    tasks = env.sample_tasks(3, np.random.default_rng(0))
    env.set_tasks(tasks)
    obs, _ = env.reset()
    others = [package_at(name, task) for task in tasks]
    assert_array_equal(obs, [start for _, start in others])
    group, policy, rng = env.unwrapped._groups[0], expert(name), np.random.default_rng(1)
    solved, whim = 0, np.zeros(4)
    fields = {field: group.batch.bind(field) for field in ("qpos", "qvel", "xpos", "xmat")}
    for t in range(steps):
        seen = np.concatenate([obs[0, :36], others[0][0]._get_pos_goal()])  # the expert knows the goal
        whim = rng.uniform(-1.5, 1.5, 4) if t % 25 == 0 else whim
        actions = np.stack([np.asarray(policy.get_action(seen), np.float64), rng.uniform(-1, 1, 4), whim])
        obs, rew, _, truncated, infos = env.step(actions)
        for i, (other, _) in enumerate(others):
            other_obs, other_rew, _, other_truncated, other_info = other.step(actions[i])
            for name_of_field, values in fields.items():
                assert_array_equal(values[i], getattr(other.data, name_of_field))
            assert_allclose(obs[i], other_obs, rtol=0, atol=1e-12)
            assert_allclose(rew[i], other_rew, rtol=0, atol=1e-9)
            assert infos["success"][i] == bool(other_info["success"])
            assert truncated[i] == other_truncated
        solved += infos["success"][0]
    assert solved or steps < 500
    assert not obs[:, 36:].any()


@pytest.mark.parametrize("name", ["reach", *(pytest.param(n, marks=pytest.mark.slow) for n in ("push", "pick-place"))])
def test_goals_of_ml1(name):
    family = gymnasium.make(ML1, task=name, goal_seed=7).unwrapped.family
    expected = package_goals(name, 7)
    for split in ("train", "test"):
        assert_array_equal(family.goals[split], expected[split])
        drawn = family.sample_tasks(50, np.random.default_rng(0), split)
        assert_array_equal(np.unique(drawn, axis=0), np.unique(expected[split], axis=0))


@pytest.mark.parametrize("env_id", [ML1, ML10])
def test_nobody_is_judged_by_the_goals_a_run_chooses_its_best_by(env_id):
    env = gymnasium.make_vec(env_id, 1, vectorization_mode="vector_entry_point").unwrapped
    drawn = [draw_tasks(env, 200, 0, stream) for stream in (VALIDATION, TEST, TRAINING)]
    chosen, judging, training = ({*map(tuple, tasks)} for tasks in drawn)
    assert len(chosen) >= 50 and len(judging) >= 50 and not chosen & (judging | training)
    assert {*env.family.scene_of(drawn[0])} == {*env.family.scene_of(drawn[1])}
    env.close()


def test_nor_by_those_of_the_adaptor():
    env = gymnasium.make("metarl/MetaWorld-v0", task="reach")
    sample, rng = env.get_wrapper_attr("sample_tasks"), np.random.default_rng(0)
    sets = ("validation", "test", "train")
    chosen, judging, training = ({*map(tuple, sample(400, rng, split))} for split in sets)
    assert len(chosen) > 40 and len(judging) > 40 and not chosen & (judging | training)
    env.close()


@pytest.mark.slow
def test_goals_of_ml10():
    package_env("reach").close()
    from metaworld import ML10 as Package

    benchmark = Package(seed=3)
    family = gymnasium.make(ML10, goal_seed=3).unwrapped.family
    for split, first, tasks in (("train", 0, benchmark.train_tasks), ("test", 10, benchmark.test_tasks)):
        vectors = [pickle.loads(task.data)["rand_vec"] for task in tasks]
        names = [task.env_name.removesuffix("-v3") for task in tasks]
        for i in range(len(tasks) // 50):
            assert family.scenes[first + i].name == names[50 * i]
            assert_array_equal(family.goals[split][i], vectors[50 * i : 50 * i + 50])


@pytest.mark.parametrize(("env_id", "split"), [(ML1, "train"), (ML10, "train"), (ML10, "test")])
def test_rows_equal_single_environments(env_id, split):
    """Also after a reset of some rows with other tasks, in ML10 of other classes."""
    n = 6
    env = gymnasium.make_vec(env_id, num_envs=n, autoreset_mode="Disabled", nthread=2)
    tasks = env.unwrapped.sample_tasks(2 * n, np.random.default_rng(0), split)
    singles = [gymnasium.make(env_id) for _ in range(n)]
    env.action_space.seed(0)

    def play(rows, obs):
        for i in rows:
            assert_array_equal(obs[i], singles[i].reset()[0])
        for _ in range(15):
            actions = env.action_space.sample()
            obs, rew, _, _, infos = env.step(actions)
            for i, single in enumerate(singles):
                single_obs, single_rew, _, _, info = single.step(actions[i])
                assert_array_equal(obs[i], single_obs)
                assert (rew[i], infos["success"][i]) == (single_rew, info["success"])

    for i, single in enumerate(singles):
        single.unwrapped.set_task(tasks[i])
    env.set_tasks(tasks[:n])
    play(range(n), env.reset()[0])
    some = np.arange(n) % 2 == 0
    env.set_tasks(np.where(some[:, None], tasks[n:], tasks[:n]))
    for i in np.flatnonzero(some):
        singles[i].unwrapped.set_task(tasks[n + i])
    play(np.flatnonzero(some), env.reset(options={"reset_mask": some})[0])


@pytest.mark.parametrize("env_id", [ML1, ML10])
def test_new_tasks_in_stable_baselines(env_id):
    """After an episode the next one already starts as its new task says."""
    vector = gymnasium.make_vec(env_id, num_envs=4, max_episode_steps=3, autoreset_mode="SameStep")
    env, seen = SB3VecEnv(vector, resample=np.random.default_rng(0)), []
    env.reset()
    for _ in range(7):
        obs, _, done, _ = env.step(np.zeros((4, 4)))
        if done.all():
            family = vector.unwrapped.family
            scenes = [family.scenes[i] for i in family.scene_of(vector.unwrapped.tasks)]
            starts = [
                scene.start(family.vector(task)) for scene, task in zip(scenes, vector.unwrapped.tasks, strict=True)
            ]
            assert_array_equal(obs[:, :18], [start.row[:18] for start in starts])
            seen.append(vector.unwrapped.tasks)
    assert not np.array_equal(*seen)


def test_classes_spread_evenly():
    env = gymnasium.make(ML10).unwrapped
    for n, split, first in ((20, "train", 0), (10, "validation", 10), (10, "test", 10)):
        classes = env.family.sample_tasks(n, np.random.default_rng(0), split)[:, 0]
        assert sorted(classes) == sorted([first + i for i in range(n // 2)] * 2)


@pytest.mark.parametrize("env_id", [ML1, ML10])
def test_checkers(env_id):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*A Box observation space m.*imum value is -?infinity")
        check_env(gymnasium.make(env_id).unwrapped, skip_render_check=True)
        sb3_check_env(gymnasium.make(env_id), skip_render_check=True)


def test_pictures():
    for env in (gymnasium.make(ML1, render_mode="rgb_array"), gymnasium.make_vec(ML10, 2, render_mode="rgb_array")):
        env.reset()
        frame = np.asarray(env.render()).reshape(-1, 3)
        assert len(np.unique(frame, axis=0)) > 100
        env.close()


def test_adaptor():
    env = gymnasium.make("metarl/MetaWorld-v0", task="hammer", goal_seed=1)
    tasks = env.get_wrapper_attr("sample_tasks")(3, np.random.default_rng(0), "test")
    starts = []
    for task in tasks:
        env.get_wrapper_attr("set_task")(task)
        starts.append(env.reset()[0])
        env.step(env.action_space.sample())
    assert len(np.unique(starts, axis=0)) == 3
    with pytest.raises(ValueError, match="did you mean 'hammer'"):
        gymnasium.make("metarl/MetaWorld-v0", task="hamer")


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        (ML1, {"task": "pick-plase"}, "unknown task 'pick-plase'; did you mean 'pick-place'"),
        (ML1, {"task": "hammer"}, "It takes one of reach, push"),
        (ML1, {"render_mode": "human"}, "render_mode"),
    ],
)
def test_bad_options(env_id, options, message):
    with pytest.raises(ValueError, match=message):
        gymnasium.make_vec(env_id, num_envs=1, **options)


@pytest.mark.parametrize("task", [[10.0, *[0.0] * 6], [15.0, *[0.0] * 6], [0.5, *[0.0] * 6], [0.0] * 7])
def test_tasks_outside_the_sets(task):
    env = gymnasium.make(ML10).unwrapped
    with pytest.raises(ValueError, match=r"MetaWorldML10: task .* is outside its task space"):
        env.set_task(np.array(task))


def test_split_of_another_name():
    message = r"MetaWorld.*: split must be 'train', 'validation' or 'test', got 'valid'"
    adaptor = gymnasium.make("metarl/MetaWorld-v0").get_wrapper_attr("sample_tasks")
    for sample in (*(gymnasium.make(env_id).unwrapped.family.sample_tasks for env_id in (ML1, ML10)), adaptor):
        with pytest.raises(ValueError, match=message):
            sample(1, np.random.default_rng(0), "valid")


def test_object_and_goal_apart():
    scene = find_scene("reach")
    assert not scene.accepts(np.array([0.0, 0.7, 0.02, 0.0, 0.8, 0.1]))


def test_package_missing_or_another(monkeypatch):
    monkeypatch.setattr(package.importlib.metadata, "version", lambda _: "3.0.0")
    with pytest.raises(ValueError, match=r"metaworld 3\.0\.0 is installed, expected 3\.1\.1: pip install --no-deps"):
        gymnasium.make(ML1)

    def nothing(_):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(package.importlib.metadata, "version", nothing)
    for env_id in (ML1, ML10, "metarl/MetaWorld-v0"):
        with pytest.raises(ValueError, match=r"not installed: pip install --no-deps metaworld==3\.1\.1"):
            gymnasium.make(env_id)
