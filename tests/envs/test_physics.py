"""Physics as a task: every simulation of a batch runs on its own model, as if it were alone with it."""

import copy

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium import spaces
from metarl_envs import FieldRange
from metarl_envs.families.walkers import Hopper, HopperRandParams
from metarl_envs.mujoco_envs import make_envs
from metarl_envs.mujoco_family import MujocoFamily, load_model
from numpy.testing import assert_allclose, assert_array_equal

from metarl.seeding import TEST, TRAINING, VALIDATION, draw_tasks

PENDULUM = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body name="pole"><joint name="hinge" axis="0 1 0" damping="0.1"/>
      <geom type="capsule" fromto="0 0 0 0 0 -0.5" size="0.04"/></body>
  </worldbody>
  <actuator><motor joint="hinge" ctrlrange="-1 1" ctrllimited="true"/></actuator>
</mujoco>
"""

PHYSICS = (
    FieldRange("body_mass", 0.5, 2.0, log=True),
    FieldRange("dof_damping", 0.2, 3.0),
    FieldRange("actuator_gear", 0.5, 1.5, shared=True),
    FieldRange("opt.gravity", -12.0, -5.0, absolute=True, elements=(2,)),
    FieldRange("opt.density", 0.0, 1.0, absolute=True),
)


class Swing(MujocoFamily):
    """A user's own model: keep a pendulum swinging at a goal speed."""

    def __init__(self, xml):
        super().__init__(load_model(xml), frame_skip=2)
        self.task_space = spaces.Box(0.0, 3.0, (1,), np.float64)

    def sample_tasks(self, n, rng):
        return rng.uniform(0.0, 3.0, size=(n, 1))

    def observe(self, state):
        return state.copy()

    def reward_terms(self, state, action, next_state, task):
        return {"reward_speed": -np.abs(np.abs(next_state[:, 1]) - task[:, 0])}


SwingEnv, SwingVectorEnv = make_envs(Swing)


class SwingInSets(Swing):
    """Another goal speed in each set."""

    def sample_tasks(self, n, rng, split="train"):
        return np.full((n, 1), float(("train", "validation", "test").index(split)))


@pytest.fixture
def pendulum(folder):
    path = folder / "pendulum.xml"
    path.write_text(PENDULUM)
    return str(path)


def test_own_model_with_physics(pendulum):
    n = 6
    env = SwingVectorEnv(n, xml=pendulum, physics=PHYSICS, max_episode_steps=20)
    tasks = env.sample_tasks(n, np.random.default_rng(0))
    assert tasks.shape == (n, 1 + 1 + 1 + 1 + 1 + 1)
    env.set_tasks(tasks)
    obs, _ = env.reset(seed=0)
    singles = [SwingEnv(task=task, xml=pendulum, physics=PHYSICS) for task in tasks]
    for i, single in enumerate(singles):
        assert_array_equal(obs[i], single.reset(seed=i)[0])
    assert singles[0].model.opt.gravity.tolist() == [0.0, 0.0, tasks[0, 4]]
    assert singles[0].model.body_mass[1] == singles[0].family.model.body_mass[1] * tasks[0, 1]
    env.action_space.seed(0)
    for _ in range(15):
        actions = env.action_space.sample()
        obs, rew, _, _, _ = env.step(actions)
        for i, single in enumerate(singles):
            own = single.step(actions[i])
            assert_array_equal(obs[i], own[0])
            assert rew[i] == own[1]


def test_tasks_with_physics_come_from_the_base_familys_sets(pendulum):
    single, vector = make_envs(SwingInSets)
    for env in (single(xml=pendulum, physics=PHYSICS), vector(2, xml=pendulum, physics=PHYSICS)):
        drawn = [draw_tasks(env, 3, 0, stream)[:, 0].tolist() for stream in (TRAINING, VALIDATION, TEST)]
        assert drawn == [[0.0] * 3, [1.0] * 3, [2.0] * 3]
        assert env.sample_tasks(3, np.random.default_rng(0))[:, 0].tolist() == [0.0] * 3


def test_each_simulation_equals_plain_mujoco_on_its_model():
    """No environment on the other side: `mj_step` on a model whose fields were written by hand."""
    n = 5
    env = gymnasium.make_vec("metarl/HopperRandParams-v0", num_envs=n)
    tasks = env.sample_tasks(n, np.random.default_rng(3))
    env.set_tasks(tasks)
    env.reset(seed=0)
    start = env.unwrapped._state.copy()
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, size=(20, n, 3))
    trajectory = []
    for action in actions:
        env.step(action)
        trajectory.append(env.unwrapped.batch.bind("qpos").copy())
        if env.unwrapped._terminated.any():
            break
    for i in range(n):
        model = load_model("hopper.xml")
        at = 0
        for field in ("body_mass", "body_inertia", "dof_damping", "geom_friction"):
            values = getattr(model, field)
            live = values != 0
            count = int(live.sum())
            values[live] *= tasks[i, at : at + count]
            at += count
        assert at == tasks.shape[1]
        data = mujoco.MjData(model)
        mujoco.mj_setConst(model, data)
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:] = start[i, : model.nq], start[i, model.nq :]
        mujoco.mj_forward(model, data)
        for action, qpos in zip(actions, trajectory, strict=False):
            data.ctrl[:] = action[i]
            mujoco.mj_step(model, data, nstep=4)
            assert_array_equal(qpos[i], data.qpos)


def test_derived_constants_follow():
    env = gymnasium.make("metarl/HopperRandParams-v0").unwrapped
    before = env.model.body_subtreemass.copy()
    env.set_task(np.full(env.task_space.shape, 1.5))
    assert_allclose(env.model.body_subtreemass, 1.5 * env.family.model.body_subtreemass)
    env.set_task(np.ones(env.task_space.shape))  # what a task changes, the next one changes back
    assert_allclose(env.model.body_subtreemass, env.family.model.body_subtreemass)
    assert not np.array_equal(before, env.model.body_subtreemass)


def test_order_of_tasks_does_not_matter():
    env = gymnasium.make_vec("metarl/Walker2dRandParams-v0", num_envs=3)
    tasks = env.sample_tasks(6, np.random.default_rng(0))
    outcomes = []
    for history in ([tasks[3:]], [tasks[:3], tasks[3:]]):
        for chosen in history:
            env.set_tasks(chosen)
            env.reset(seed=0)
            outcome = [env.step(np.full((3, 6), 0.5))[0] for _ in range(10)]
        outcomes.append(outcome)
    assert_array_equal(outcomes[0], outcomes[1])


def test_physics_on_top_of_a_task():
    physics = [FieldRange("geom_friction", 0.2, 1.0, shared=True)]
    env = gymnasium.make_vec("metarl/HalfCheetahDir-v0", num_envs=4, physics=physics)
    tasks = env.sample_tasks(4, np.random.default_rng(0))
    assert set(tasks[:, 0]) <= {-1.0, 1.0} and (tasks[:, 1] < 1.0).all()
    env.set_tasks(tasks)
    with pytest.raises(ValueError, match="outside its task space"):
        env.set_tasks(np.tile([0.5, 0.5], (4, 1)))
    nested = HopperRandParams(log_scale=1.0)
    assert nested.task_space.shape == (34,)


def test_log_uniform_ranges_are_those_of_the_source():
    factors = HopperRandParams().sample_tasks(4000, np.random.default_rng(0))
    exponents = np.log(factors[:, :4]) / np.log(1.5)  # masses
    assert_allclose(exponents.mean(), 0.0, atol=0.1)
    assert_allclose(exponents.std(), np.sqrt(3.0), rtol=0.05)  # of U(-3, 3)
    assert np.abs(exponents).max() <= 3.0 + 1e-12


def test_set_const_leaves_the_family_model_alone():
    family = HopperRandParams()
    before = copy.copy(family.model)
    env_type = make_envs(HopperRandParams)[0]
    env = env_type()
    env.set_task(env.sample_tasks(1, np.random.default_rng(0))[0])
    assert_array_equal(before.body_mass, env.family.model.body_mass)


def test_the_world_keeps_its_mass(pendulum):
    family = SwingEnv(xml=pendulum, physics=[FieldRange("body_mass", 1.0, 2.0, absolute=True)]).family
    assert family.fields(np.array([[0.0, 1.5]]))["body_mass"].tolist() == [[0.0, 1.5]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FieldRange("body_mass", 0.0, 1.0), "body_mass: values must be positive, got low=0.0"),
        (lambda: FieldRange("body_mass", -1.0, 1.0, absolute=True), "must be positive"),
        (lambda: FieldRange("geom_friction", -0.1, 1.0), "must not be negative"),
        (lambda: FieldRange("actuator_gear", 0.0, 1.0, log=True), "log-uniform range must be positive"),
        (lambda: FieldRange("opt.gravity", 2.0, 1.0), "low must be less than high, got low=2.0, high=1.0"),
    ],
)
def test_bad_ranges(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (FieldRange("body_mas", 0.5, 2.0), "Hopper: unknown model field 'body_mas'; did you mean 'body_mass'"),
        (FieldRange("gravity", 0.5, 2.0), "Hopper: unknown model field 'gravity'; did you mean 'opt.gravity'"),
        (FieldRange("tendon_stiffness", 0.5, 2.0), "Hopper: model field 'tendon_stiffness' has no elements"),
        (FieldRange("body_parentid", 0.5, 2.0), "it is structure, not physics"),
        (FieldRange("opt.timestep", 0.5, 2.0), "it is structure, not physics"),
        (FieldRange("body_mass", 0.5, 2.0, elements=(7,)), "expected some of 0..4"),
    ],
)
def test_fields_that_the_model_lacks(item, message):
    env_type, vector_type = make_envs(Hopper)
    with pytest.raises(ValueError, match=message):
        env_type(physics=[item])
    with pytest.raises(ValueError, match=message):
        vector_type(2, physics=[item])


class Scored(Swing):
    """A family with success and a reward of its own."""

    def reward(self, terms):
        return 2.0 * super().reward(terms)

    def success(self, next_state, task):
        return np.abs(next_state[:, 1]) > 0.1 * task[:, 0]


def test_physics_change_neither_success_nor_how_the_reward_is_made(pendulum):
    env_type, vector_type = make_envs(Scored)
    single = env_type(task=[1.0, 1.0], xml=pendulum, physics=[FieldRange("body_mass", 0.5, 2.0)])
    vector = vector_type(2, xml=pendulum, physics=[FieldRange("body_mass", 0.5, 2.0)])
    vector.set_tasks([[1.0, 1.0]] * 2)
    single.reset(seed=0)
    vector.reset(seed=[0, 1])
    _, reward, _, _, info = single.step(np.ones(1))
    _, rewards, _, _, infos = vector.step(np.ones((2, 1)))
    assert reward == 2.0 * info["reward_speed"] == rewards[0]
    assert info["success"] == infos["success"][0]
