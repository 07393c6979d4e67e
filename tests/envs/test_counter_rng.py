"""The random streams of array families: the published generator, one stream a row, no relation between neighbours."""

import gymnasium
import numpy as np
import pytest
from metarl_envs.array_envs import ArrayFamily, make_envs
from metarl_envs.counter_rng import Streams, philox, stream_keys
from metarl_envs.keyword_tasks import KeywordTasks
from numpy.testing import assert_array_equal
from scipy import stats

NUMPY_IDS = [f"metarl/{name}Navigation-v0" for name in ("Point", "Sparse", "Corner")]
NUMPY_IDS += ["metarl/GridNavigation-v0", "metarl/Bandit-v0", "metarl/TabularMDP-v0"]


@pytest.mark.parametrize(
    ("counter", "key", "bits"),
    [  # Random123's kat_vectors, philox4x32 with 10 rounds
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter, key, bits):
    def words(text):
        numbers = [int(word, 16) for word in text.split()]
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return np.array([[low | high << 32] for low, high in pairs], dtype=np.uint64)

    assert_array_equal(philox(words(counter), words(key)[0]), words(bits))


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_a_row_draws_the_same_alone_and_among_others(draw):
    for n in range(1, 70):
        many = Streams(stream_keys(range(n)))
        numbers = [getattr(many, draw)(size) for size in (1, 3, 2)]
        i = n // 2
        alone = Streams(stream_keys([i]))
        for size, drawn in zip((1, 3, 2), numbers, strict=True):
            assert drawn.shape == (n, size)
            assert_array_equal(getattr(alone, draw)(size)[0], drawn[i])


def test_distributions():
    rng = Streams(stream_keys(range(2000)))
    uniform, normal = rng.uniform(51), rng.normal(51)
    assert uniform.min() >= 0.0 and uniform.max() < 1.0
    assert stats.kstest(uniform.ravel(), "uniform").pvalue > 0.01
    assert stats.kstest(normal.ravel(), "norm").pvalue > 0.01
    assert len(np.unique(uniform)) == uniform.size


def chance_of_pairs(x, y):
    """Return the p-value of the hypothesis that numbers in [0, 1) are uniform in pairs."""
    counts, _, _ = np.histogram2d(x.ravel(), y.ravel(), bins=16, range=[[0, 1], [0, 1]])
    return stats.chisquare(counts.ravel()).pvalue


@pytest.mark.parametrize("base", [0, 2**31, 2**63])
def test_neighbours_are_unrelated(base):
    """Adjacent seeds, adjacent numbers, and both: over many tables, the p-values must themselves be uniform."""
    chances = []
    for first in range(base, base + 30_000, 1000):
        table = Streams(stream_keys(range(first, first + 400))).uniform(100)  # a row for each seed
        chances.append(chance_of_pairs(table[::2], table[1::2]))
        chances.append(chance_of_pairs(table[:, ::2], table[:, 1::2]))
        chances.append(chance_of_pairs(table[::2, 1:], table[1::2, :-1]))
    assert stats.kstest(chances, "uniform").pvalue > 0.001 and min(chances) > 1e-5


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_first_numbers_of_adjacent_seeds(draw):
    """The numbers that a batch of short episodes sees."""
    n = 100_000
    drawn = getattr(Streams(stream_keys(range(n))), draw)(1)[:, 0]
    assert stats.kstest(drawn, {"uniform": "uniform", "normal": "norm"}[draw]).pvalue > 0.01
    for lag in (1, 2, 20, 800):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 4 / np.sqrt(n)


def test_seeds_of_any_length():
    seeds = [0, 2**64 - 1, 2**64, 2**128 + 1, 2**128 + 2]
    keys = stream_keys(seeds)
    assert len(set(keys.tolist())) == 5
    assert_array_equal(keys, np.concatenate([stream_keys([seed]) for seed in seeds]))
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        stream_keys([3, -1])


@pytest.mark.parametrize("env_id", NUMPY_IDS)
def test_no_generator_is_made_for_a_row(env_id, monkeypatch):
    env = gymnasium.make_vec(env_id, num_envs=50, autoreset_mode="SameStep", max_episode_steps=3)
    actions = env.action_space.sample()

    def refuse(*_):
        raise AssertionError("a generator was made")

    for name in ("default_rng", "Generator", "SeedSequence", "PCG64"):
        monkeypatch.setattr(np.random, name, refuse)
    env.reset(seed=3)
    for _ in range(7):
        env.step(actions)


class Walk(ArrayFamily):
    """A random walk, whose steps grow with an option."""

    def __init__(self, size: float = 1.0):
        self.size = size
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.task_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)

    def sample_tasks(self, n, rng):
        return rng.uniform(-1.0, 1.0, size=(n, 1))

    def start(self, rng):
        return rng.normal(1)

    def move(self, state, action, task, rng):
        return state + self.size * rng.normal(1)

    def observe(self, state):
        return state.copy()

    def reward_terms(self, state, action, next_state, task):
        return {"reward_place": next_state[:, 0].copy()}

    def draw(self, state, task, size):
        return np.zeros((size, size, 3), np.uint8)


WalkEnv, WalkVectorEnv = make_envs(Walk)


def walked(env, **options):
    return [env.reset(**options)[0][0], *(env.step(0)[0][0] for _ in range(5))]


def test_an_unseeded_environment_can_be_repeated():
    env, twin = WalkEnv(), WalkEnv()
    first, second = walked(env), walked(env)
    assert walked(twin, seed=env.np_random_seed) == first
    assert walked(twin) == second != first
    assert walked(WalkEnv()) != first


def test_a_generator_that_was_given_decides():
    places = []
    for seed in (1, 1, 2):
        env = WalkEnv()
        env.np_random = np.random.default_rng(seed)
        places.append(walked(env))
    assert places[0] == places[1] != places[2]


def test_unseeded_rows_differ():
    env, other = WalkVectorEnv(30), WalkVectorEnv(30)
    assert len(np.unique(np.concatenate([env.reset()[0], other.reset()[0]]))) == 60


def test_a_new_task_goes_on_with_the_stream(monkeypatch):
    gymnasium.register("Walk-v0", WalkEnv, max_episode_steps=10)
    try:
        env, plain = KeywordTasks("Walk-v0", {"size": (0.5, 1.5)}), gymnasium.make("Walk-v0")
        first = walked(env, seed=3)
        assert walked(plain, seed=3) == first
        env.set_task(np.array([1.0]))
        assert walked(env) == walked(plain) != first
    finally:
        del gymnasium.registry["Walk-v0"]
