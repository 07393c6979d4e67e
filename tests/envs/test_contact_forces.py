"""Contact forces as options of ant and humanoid, and the paper's bodies, against `mj_step`."""

import gymnasium
import metarl_envs  # noqa: F401 - registers the ids
import mujoco
import numpy as np
import pytest
from metarl_envs.mujoco_family import load_model
from numpy.testing import assert_allclose, assert_array_equal

ANT = {"contact_cost_weight": 5e-4, "include_contact_forces": True}
HUMANOID = {"contact_cost_weight": 5e-7, "include_contact_forces": True}
CASES = [
    ("AntDir", ANT),
    ("AntVel", {**ANT, "include_position": True, "body": "paper"}),
    ("AntGoal", {"contact_cost_weight": 5e-4}),
    ("AntCrippled", ANT),
    ("HumanoidDir", HUMANOID),
    ("HumanoidDir", {**HUMANOID, "observation": "state"}),
    ("HumanoidDir", {"contact_cost_weight": 5e-7}),
    ("HalfCheetahDir", {"body": "paper", "torso_position": True}),
]


def made(name, options):
    env = gymnasium.make(f"metarl/{name}-v0", **options).unwrapped
    env.set_task(env.sample_tasks(1, np.random.default_rng(0))[0])
    return env


@pytest.mark.parametrize(("name", "options"), [("AntDir", ANT), ("HumanoidDir", HUMANOID)])
def test_forces_are_those_of_the_last_physics_step_and_the_motion_is_as_without_them(name, options):
    env = made(name, {**options, "terminate_when_unhealthy": False})
    model = load_model("ant.xml" if name == "AntDir" else "humanoid.xml")  # without a sensor
    data = mujoco.MjData(model)
    env.reset(seed=3)
    data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
    mujoco.mj_forward(model, data)
    rng = np.random.default_rng(1)
    largest = 0.0
    for _ in range(60):
        action = rng.uniform(env.action_space.low, env.action_space.high)
        data.ctrl[:] = action
        mujoco.mj_step(model, data, nstep=4)
        before = mujoco.MjData(model)
        mujoco.mj_copyData(before, model, data)
        mujoco.mj_forward(model, before)
        mujoco.mj_rnePostConstraint(model, before)
        mujoco.mj_step(model, data)
        obs, _, _, _, info = env.step(action)
        assert_array_equal(env.data.qpos, data.qpos)
        forces = before.cfrc_ext[1:].ravel()
        shown = np.clip(forces, -1, 1) if name == "AntDir" else forces
        assert_allclose(obs[-78:], shown, rtol=1e-9, atol=1e-9)
        cost = 5e-4 * (shown**2).sum() if name == "AntDir" else min(5e-7 * (forces**2).sum(), 10.0)
        assert_allclose(info["reward_contact"], -cost, rtol=1e-7, atol=1e-12)
        largest = max(largest, abs(forces).max())
    assert largest > 10  # it touched the ground


@pytest.mark.parametrize(("name", "options"), CASES)
def test_rows_of_the_batch_are_single_environments(name, options):
    env = gymnasium.make_vec(f"metarl/{name}-v0", num_envs=3, **options)
    single = made(name, options)
    tasks = np.repeat(single.task[None], 3, axis=0)
    env.set_tasks(tasks)
    env.action_space.seed(2)
    assert_array_equal(env.reset(seed=5)[0][0], single.reset(seed=5)[0])
    for _ in range(40):
        actions = env.action_space.sample()
        obs, rew, terminated, *_ = env.step(actions)
        own = single.step(actions[0])
        assert_array_equal(obs[0], own[0])
        assert rew[0] == own[1]
        if terminated[0]:
            break
    env.close()


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("AntDir", {}, 27),
        ("AntDir", ANT, 105),
        ("AntGoal", {"contact_cost_weight": 5e-4}, 29),
        ("HumanoidDir", {}, 270),
        ("HumanoidDir", HUMANOID, 348),
        ("HumanoidDir", {"contact_cost_weight": 5e-7}, 270),
        ("HumanoidDir", {**HUMANOID, "observation": "state"}, 45 + 78),
        ("HalfCheetahVel", {"body": "paper", "torso_position": True}, 20),
    ],
)
def test_sizes_of_observations(name, options, size):
    assert made(name, options).observation_space.shape == (size,)


def test_sizes_are_those_of_gymnasium():
    for name, theirs, options in [("AntDir", "Ant-v5", ANT), ("HumanoidDir", "Humanoid-v5", HUMANOID)]:
        assert made(name, options).observation_space.shape == gymnasium.make(theirs).observation_space.shape


@pytest.mark.parametrize(("name", "seconds"), [("HalfCheetahDir", 0.01), ("HalfCheetahVel", 0.01), ("AntDir", 0.02)])
def test_a_control_step_of_the_papers_body(name, seconds):
    env = made(name, {"body": "paper"})
    assert env.dt == pytest.approx(seconds)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert env.data.time == pytest.approx(seconds)


def test_the_papers_ant_has_rllabs_contacts():
    paper, ours = made("AntDir", {"body": "paper"}).model, made("AntDir", {}).model
    assert_allclose(paper.geom_solimp[:, :3], np.tile([0.8, 0.8, 0.01], (paper.ngeom, 1)))
    for field in ("body_mass", "geom_size", "jnt_range", "actuator_gear", "dof_damping"):
        assert_array_equal(getattr(paper, field), getattr(ours, field))


def test_an_unknown_body_is_refused():
    with pytest.raises(ValueError, match="body='papers'; expected 'gymnasium' or 'paper'"):
        made("AntDir", {"body": "papers"})
