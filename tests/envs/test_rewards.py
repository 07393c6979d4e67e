"""Rewards and ends against the papers' formulas, written once more, for one simulation and by hand."""

import gymnasium
import numpy as np
import pytest
from env_ids import IDS
from numpy.testing import assert_allclose
from scipy import stats


def square(action):
    return float(np.sum(np.clip(action, -1, 1) ** 2))


def alive(z, low, high):
    return low <= z <= high


# from positions before and after one control step of dt seconds: reward and whether the episode ends
FORMULAS = {
    "PointNavigation": lambda s, n, a, g, dt: (-np.linalg.norm(n - g), max(abs(n - g)) < 0.01),
    "SparseNavigation": lambda s, n, a, g, dt: (
        max(0.0, 1 - np.linalg.norm(n - g)) if np.linalg.norm(n - g) <= 0.2 else 0,
        False,
    ),
    "HalfCheetahVel": lambda s, n, a, g, dt: (-abs((n[0] - s[0]) / dt - g[0]) - 0.05 * square(a), False),
    "HalfCheetahDir": lambda s, n, a, g, dt: (g[0] * (n[0] - s[0]) / dt - 0.05 * square(a), False),
    "HalfCheetahCrippled": lambda s, n, a, g, dt: (
        (n[0] - s[0]) / dt - 0.05 * square(np.delete(a, int(g[0]))),
        False,
    ),
    "AntVel": lambda s, n, a, g, dt: (
        1 - abs((n[0] - s[0]) / dt - g[0]) - 0.005 * square(a) + 0.05,
        not alive(n[2], 0.2, 1.0),
    ),
    "AntDir": lambda s, n, a, g, dt: (
        np.dot(g, (n - s)[: len(g)]) / dt - 0.005 * square(a) + 0.05,
        not alive(n[2], 0.2, 1.0),
    ),
    "AntGoal": lambda s, n, a, g, dt: (
        4 - np.abs(n[:2] - g).sum() - 0.005 * square(a) + 0.05,
        not alive(n[2], 0.2, 1.0),
    ),
    "AntCrippled": lambda s, n, a, g, dt: ((n[0] - s[0]) / dt + 0.05, False),
    "Walker2dVel": lambda s, n, a, g, dt: (
        15 - abs((n[0] - s[0]) / dt - g[0]) - 0.001 * square(a),
        not (0.8 < n[1] < 2.0 and abs(n[2]) < 1.0),
    ),
    "Walker2dDir": lambda s, n, a, g, dt: (
        g[0] * (n[0] - s[0]) / dt + 1 - 0.001 * square(a),
        not (0.8 < n[1] < 2.0 and abs(n[2]) < 1.0),
    ),
    "Walker2dRandParams": lambda s, n, a, g, dt: (
        (n[0] - s[0]) / dt + 1 - 0.001 * square(a),
        not (0.8 < n[1] < 2.0 and abs(n[2]) < 1.0),
    ),
    "HopperRandParams": lambda s, n, a, g, dt: (
        (n[0] - s[0]) / dt + 1 - 0.001 * square(a),
        not (n[1] > 0.7 and abs(n[2]) < 0.2),
    ),
    "SwimmerVel": lambda s, n, a, g, dt: (-1.5 * abs((n[0] - s[0]) / dt - g[0]) - 0.005 * square(a), False),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name):
    env = gymnasium.make(f"metarl/{name}-v0").unwrapped
    nq = env.model.nq if hasattr(env, "model") else 2
    dt = getattr(env, "dt", None)
    rng = np.random.default_rng(0)
    for task in env.sample_tasks(3, rng):
        env.set_task(task)
        env.reset(seed=int(rng.integers(100)))
        for _ in range(60):
            action = 1.5 * rng.uniform(env.action_space.low, env.action_space.high)
            before = env._state[:nq].copy()
            _, reward, terminated, _, info = env.step(action)
            expected, ends = FORMULAS[name](before, env._state[:nq], action, task, dt)
            assert_allclose(reward, expected, rtol=1e-9, atol=1e-12)
            assert_allclose(reward, sum(info.values()), rtol=1e-12)
            assert terminated == ends
            if terminated:
                break


def test_sparse_reward_near_the_goal():
    env = gymnasium.make("metarl/SparseNavigation-v0").unwrapped
    env.set_task(np.array([0.0, 1.0]))
    env.reset(seed=0)
    steps = [env.step(np.array([0.0, 0.5])) for _ in range(12)]  # moves are clipped to 0.1
    rewards = [step[1] for step in steps]
    assert [step[4]["success"] for step in steps] == [reward > 0 for reward in rewards]
    # at 0.8 the distance is 0.2 but for rounding
    assert_allclose(rewards[:7] + rewards[8:], [0.0] * 7 + [0.9, 1.0, 0.9, 0.8], atol=1e-9)


def test_corner_reward():
    env = gymnasium.make("metarl/CornerNavigation-v0").unwrapped
    env.set_task(np.array([2.0, 2.0]))
    env.reset(seed=0)
    env._state = np.array([0.2, 0.2])
    reward = env.step(np.array([0.0, 0.0]))[1]
    assert reward == 0.0  # in the quiet diamond
    near = np.array([0.5, 0.5])
    env._state = near.copy()
    assert_allclose(env.step(np.array([1.0, 1.0]))[1], np.sqrt(2) * 0.2)  # clipped
    assert_allclose(env.step(np.array([-0.1, -0.1]))[1], -np.sqrt(2) * 0.1)
    env._state = -near
    assert env.step(np.array([0.1, 0.1]))[1] == 0.0  # another corner is nearer


def test_the_grid():
    env = gymnasium.make("metarl/GridNavigation-v0").unwrapped
    env.set_task(np.array([1.0, 2.0]))
    assert env.reset(seed=0)[0].tolist() == [0, 0]
    # down and left stay at the border; the goal pays again and again and ends nothing
    walk = [(3, [0, 0]), (4, [0, 0]), (1, [0, 1]), (1, [0, 2]), (2, [1, 2]), (0, [1, 2]), (1, [1, 3]), (3, [1, 2])]
    for action, cell in walk:
        obs, reward, terminated, truncated, info = env.step(action)
        assert obs.tolist() == cell and not terminated and not truncated
        assert reward == (1.0 if cell == [1, 2] else -0.1)
        assert info["success"] == (cell == [1, 2])
    goals, counts = np.unique(env.sample_tasks(4200, np.random.default_rng(0)), axis=0, return_counts=True)
    assert len(goals) == 21 and (goals.max(axis=1) > 1).all()
    assert stats.chisquare(counts).pvalue > 0.01
    for wrong in ([0.0, 0.0], [1.0, 1.0], [2.5, 0.0]):
        with pytest.raises(ValueError, match="outside its task space Cells"):
            env.set_task(np.array(wrong))


def test_corner_starts():
    obs, _ = gymnasium.make_vec("metarl/CornerNavigation-v0", num_envs=4000).reset(seed=0)
    for column in obs.T:
        assert stats.kstest(column, stats.uniform(-0.2, 0.4).cdf).pvalue > 0.01


def test_bandit_pays_its_chances():
    n = 4000
    env = gymnasium.make_vec("metarl/Bandit-v0", num_envs=n, arms=3)
    env.set_tasks(np.tile([0.1, 0.5, 0.9], (n, 1)))
    for arm, chance in enumerate((0.1, 0.5, 0.9)):
        env.reset(seed=arm * n)
        rewards = env.step(np.full(n, arm))[1]
        assert set(rewards) == {0.0, 1.0}
        assert_allclose(rewards.mean(), chance, atol=4 * np.sqrt(chance * (1 - chance) / n))


def test_mdp_follows_its_tables():
    n = 20_000
    env = gymnasium.make_vec("metarl/TabularMDP-v0", num_envs=n, states=4, actions=2)
    task = env.sample_tasks(1, np.random.default_rng(0))[0]
    env.set_tasks(np.tile(task, (n, 1)))
    chances, means = task[:32].reshape(4, 2, 4), task[32:].reshape(4, 2)
    obs, _ = env.reset(seed=0)
    assert (obs == [1.0, 0.0, 0.0, 0.0]).all()
    obs, rewards, *_ = env.step(np.ones(n, dtype=np.int64))
    assert_allclose(obs.mean(axis=0), chances[0, 1], atol=0.015)
    assert_allclose([rewards.mean(), rewards.std()], [means[0, 1], 1.0], atol=0.03)
    state = int(np.argmax(chances[0, 1]))
    there = obs[:, state] == 1.0
    obs, rewards, *_ = env.step(np.zeros(n, dtype=np.int64))
    assert_allclose(obs[there].mean(axis=0), chances[state, 0], atol=0.03)
    assert_allclose(rewards[there].mean(), means[state, 0], atol=0.05)


def test_dead_actuators():
    ant = gymnasium.make("metarl/AntCrippled-v0").unwrapped
    names = [ant.model.joint(int(ant.model.actuator_trnid[i, 0])).name for i in range(8)]
    for leg in range(4):
        controls = ant.family.control(np.ones((1, 8)), np.array([[float(leg)]]))[0]
        dead = [name for name, value in zip(names, controls, strict=True) if value == 0.0]
        assert dead == [f"hip_{leg + 1}", f"ankle_{leg + 1}"]
    cheetah = gymnasium.make("metarl/HalfCheetahCrippled-v0").unwrapped
    cheetah.set_task(np.array([2.0]))
    cheetah.reset(seed=0)
    cheetah.step(np.ones(6))
    assert cheetah.data.ctrl.tolist() == [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]


def test_the_dead_leg_of_the_ant_is_a_stump():
    whole, ant = (gymnasium.make("metarl/AntCrippled-v0", shrink=shrink).unwrapped for shrink in (False, True))
    for leg, name in enumerate(("left", "right", "third", "fourth")):
        for env in (whole, ant):
            env.set_task(np.array([float(leg)]))
            env.reset(seed=leg)
        ankle = whole.model.geom(f"{name}_ankle_geom").id
        assert_allclose(ant.model.geom_size[ankle - 1 : ankle + 1], whole.model.geom_size[ankle - 1 : ankle + 1] / 2)
        body = ant.data.body(ant.model.geom_bodyid[ankle])
        offset = body.xmat.reshape(3, 3) @ ant.model.geom_pos[ankle - 1]
        assert_allclose(ant.data.geom_xpos[ankle], body.xpos + offset)  # where it collides, not only where it is drawn
        others = [geom for geom in range(ant.model.ngeom) if geom not in (ankle - 1, ankle)]
        assert_allclose(ant.data.geom_xpos[others], whole.data.geom_xpos[others])
        assert_allclose(ant.model.geom_size[others], whole.model.geom_size[others])


def test_ranges_of_tasks():
    rng = np.random.default_rng(0)

    def tasks(name, **options):
        return gymnasium.make(f"metarl/{name}-v0", **options).unwrapped.sample_tasks(2000, rng)

    for name, low, high in (
        ("HalfCheetahVel", 0, 2),
        ("AntVel", 0, 3),
        ("Walker2dVel", 0, 10),
        ("SwimmerVel", 0.1, 0.2),
    ):
        drawn = tasks(name)
        assert_allclose([drawn.min(), drawn.max(), drawn.mean()], [low, high, (low + high) / 2], atol=0.05 * high)
    goals = tasks("AntGoal", goals="disk")
    radii = np.linalg.norm(goals, axis=1)
    assert radii.max() <= 3.0
    assert_allclose((radii < 1.5).mean(), 0.25, atol=0.04)  # uniform on the area
    half = tasks("SparseNavigation")
    assert_allclose(np.linalg.norm(half, axis=1), 1.0)
    assert (half[:, 1] >= 0).all() and abs(half[:, 0].mean()) < 0.1
    directions = tasks("HumanoidDir")
    assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    assert np.abs(directions.mean(axis=0)).max() < 0.1
    assert sorted(set(tasks("HalfCheetahCrippled", drawn=(1, 2)).ravel())) == [1.0, 2.0]
    corners, counts = np.unique(tasks("CornerNavigation"), axis=0, return_counts=True)
    assert corners.tolist() == [[-2, -2], [-2, 2], [2, -2], [2, 2]] and counts.min() > 400


def test_all_families_are_covered():
    elsewhere = {"CornerNavigation", "Bandit", "TabularMDP", "HumanoidDir", "GridNavigation"}
    assert {f"metarl/{name}-v0" for name in (*FORMULAS, *elsewhere)} == set(IDS)


def test_humanoid_reward():
    env = gymnasium.make("metarl/HumanoidDir-v0", task=np.array([0.6, 0.8])).unwrapped
    env.reset(seed=0)
    for _ in range(200):
        before = env.data.subtree_com[0].copy()
        _, reward, terminated, _, _ = env.step(np.full(17, 0.9))  # beyond the range of 0.4
        velocity = (env.data.subtree_com[0] - before) / env.dt
        expected = 1.25 * (0.6 * velocity[0] + 0.8 * velocity[1]) - 0.1 * 17 * 0.4**2 + 5
        assert_allclose(reward, expected, rtol=1e-6)
        assert terminated == (not 1.0 <= env.data.qpos[2] <= 2.0)
        if terminated:
            return
    raise AssertionError("a humanoid that strains all its muscles falls")


def test_grid_reward():
    env = gymnasium.make("metarl/GridNavigation-v0").unwrapped
    env.set_task(np.array([1.0, 2.0]))
    assert np.array_equal(env.reset(seed=0)[0], [0.0, 0.0])
    stay, up, right, down, left = range(5)
    # the border holds back the first two
    steps = [env.step(action) for action in (left, down, right, up, up, stay, up)]
    assert [step[0].tolist() for step in steps] == [[0, 0], [0, 0], [1, 0], [1, 1], [1, 2], [1, 2], [1, 3]]
    assert [step[1] for step in steps] == [-0.1, -0.1, -0.1, -0.1, 1.0, 1.0, -0.1]
    assert not any(step[2] for step in steps)
