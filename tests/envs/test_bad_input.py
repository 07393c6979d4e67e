"""Wrong input is a ValueError that names the family, the value and what is accepted."""

import gymnasium
import numpy as np
import pytest
from env_ids import IDS
from gymnasium.error import ResetNeeded
from metarl_envs.mujoco_family import load_model

import metarl


def name_of(env_id):
    return env_id.removeprefix("metarl/").removesuffix("-v0")


@pytest.mark.parametrize("env_id", IDS)
def test_tasks(env_id):
    single, env = gymnasium.make(env_id).unwrapped, gymnasium.make_vec(env_id, num_envs=2)
    d = env.task_space.shape[0]
    far = np.full(d, 1e6)
    with pytest.raises(ValueError, match=rf"{name_of(env_id)}: task \[1000000.0.* is outside its task space"):
        single.set_task(far)
    with pytest.raises(ValueError, match=rf"{name_of(env_id)}: task .* is outside its task space"):
        env.set_tasks(np.stack([env.tasks[0], far]))
    with pytest.raises(ValueError, match=rf"{name_of(env_id)}: tasks of shape \({d + 1},\); expected \({d},\)"):
        single.set_task(np.zeros(d + 1))
    with pytest.raises(ValueError, match=rf"{name_of(env_id)}: tasks of shape \({d},\); expected \(2, {d}\)"):
        env.set_tasks(env.tasks[0])
    with pytest.raises(ValueError, match=rf"{name_of(env_id)}: task .*nan"):
        single.set_task(np.full(d, np.nan))


def test_sets_of_tasks():
    single, env = gymnasium.make(IDS[0]).unwrapped, gymnasium.make_vec(IDS[0], num_envs=2)
    message = f"{name_of(IDS[0])}: split must be 'train', 'validation' or 'test', got 'dev'"
    for thing in (single, env):
        with pytest.raises(ValueError, match=message):
            thing.sample_tasks(1, np.random.default_rng(0), "dev")


@pytest.mark.parametrize("env_id", IDS)
def test_actions(env_id):
    single, env = gymnasium.make(env_id).unwrapped, gymnasium.make_vec(env_id, num_envs=3)
    single.reset(seed=0)
    env.reset(seed=0)
    good = env.action_space.sample()
    with pytest.raises(ValueError, match=rf"{name_of(env_id)}: actions of shape"):
        single.step(good)
    with pytest.raises(ValueError, match=rf"{name_of(env_id)}: actions of shape .*; expected"):
        env.step(good[:2])
    env.step(good)
    bad = good.astype(np.float64)
    if good.dtype.kind == "i":
        with pytest.raises(ValueError, match=rf"{name_of(env_id)}: actions of type float64; expected whole numbers"):
            env.step(bad)
        return
    for value in (np.nan, np.inf, -np.inf):
        bad[1] = value
        with pytest.raises(ValueError, match=rf"{name_of(env_id)}: action .*{value}.* in row 1 is not finite"):
            env.step(bad)
        with pytest.raises(ValueError, match=rf"{name_of(env_id)}: action .*{value}.* in row 0 is not finite"):
            single.step(bad[1])


@pytest.mark.parametrize("env_id", ["metarl/Bandit-v0", "metarl/TabularMDP-v0", "metarl/GridNavigation-v0"])
def test_discrete_actions(env_id):
    single, env = gymnasium.make(env_id).unwrapped, gymnasium.make_vec(env_id, num_envs=3)
    single.reset(seed=0)
    env.reset(seed=0)
    for wrong in (5, -1):
        with pytest.raises(ValueError, match=rf"{name_of(env_id)}: action {wrong} .*Discrete\(5\)"):
            single.step(wrong)
        with pytest.raises(ValueError, match=rf"{name_of(env_id)}: action .*{wrong}.* in row 2 .*Discrete\(5\)"):
            env.step(np.array([0, 4, wrong]))


def test_step_before_reset():
    with pytest.raises(ResetNeeded, match="TabularMDP"):
        gymnasium.make_vec("metarl/TabularMDP-v0", num_envs=1).step(np.array([0]))
    with pytest.raises(ResetNeeded, match="AntVel"):
        gymnasium.make("metarl/AntVel-v0").unwrapped.step(np.zeros(8))


def test_reset_arguments():
    env = gymnasium.make_vec("metarl/Bandit-v0", num_envs=2)
    with pytest.raises(ValueError, match=r"reset_mask.*bool array of shape"):
        env.reset(options={"reset_mask": np.zeros(3, np.bool_)})
    with pytest.raises(ValueError, match="expected 2 seeds"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="a seed must not be negative, got -3"):
        env.reset(seed=-3)
    with pytest.raises(gymnasium.error.Error, match=r"greater or equal to zero.*-3"):
        gymnasium.make_vec("metarl/SwimmerVel-v0", num_envs=2).reset(seed=-3)


def test_models(folder):
    with pytest.raises(ValueError, match=r"model file .*nothing.xml' does not exist"):
        load_model(folder / "nothing.xml")
    (folder / "bad.xml").write_text("<mujoco><worldbody><geom type='potato'/></worldbody></mujoco>")
    with pytest.raises(ValueError, match=r"model file .*bad.xml' does not compile: .*potato"):
        load_model(folder / "bad.xml")
    (folder / "massless.xml").write_text(
        "<mujoco><worldbody><body><joint/><geom size='1' mass='0'/></body></worldbody></mujoco>"
    )
    with pytest.raises(ValueError, match=r"does not compile: .*mass"):
        load_model(folder / "massless.xml")


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        ("HalfCheetahVel", {"low": 2.0, "high": 1.0}, "HalfCheetahVel: low must be less than high"),
        ("AntVel", {"low": 2.0, "high": 1.0}, "AntVel: low must be less than high"),
        ("AntDir", {"directions": "up"}, "AntDir: directions='up'; expected"),
        ("AntGoal", {"goals": "ring"}, "AntGoal: goals='ring'; expected"),
        ("AntCrippled", {"drawn": (4,)}, r"AntCrippled: drawn=\(4,\); expected some of 0..3"),
        ("HumanoidDir", {"observation": "all"}, "HumanoidDir: observation='all'; expected"),
        ("Bandit", {"arms": 1}, "Bandit: arms must be at least 2, got 1"),
        ("GridNavigation", {"cells": 2}, "GridNavigation: cells must be at least 3, got 2"),
        ("TabularMDP", {"states": 1}, "TabularMDP: needs at least 2 states"),
        ("PointNavigation", {"goal_range": 0.0}, "PointNavigation: goal_range must be positive, got 0.0"),
        ("SparseNavigation", {"goal_radius": 0.0}, "SparseNavigation: radii must be positive"),
        ("CornerNavigation", {"corner": 0.0}, "CornerNavigation: expected corner > 0"),
        ("HopperRandParams", {"log_scale": 0.0}, "log_scale must be positive, got 0.0"),
    ],
)
def test_options(env_id, options, message):
    with pytest.raises(ValueError, match=message):
        gymnasium.make_vec(f"metarl/{env_id}-v0", num_envs=1, **options)


@pytest.mark.parametrize("threads", ["0", "-1", "all"])
def test_the_number_of_threads(threads, monkeypatch):
    monkeypatch.setenv("METARL_PHYSICS_THREADS", threads)
    with pytest.raises(ValueError, match=f"METARL_PHYSICS_THREADS must be 1 or more threads, got '{threads}'"):
        gymnasium.make_vec("metarl/HalfCheetahVel-v0", num_envs=2)
    with pytest.raises(metarl.UserError, match=f"METARL_PHYSICS_THREADS must be 1 or more threads, got '{threads}'"):
        metarl.MAML("metarl/HalfCheetahVel-v0")
