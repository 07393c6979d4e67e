"""The sampler against playing episodes one at a time, and its errors."""

import gymnasium
import metarl_envs  # noqa: F401
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from own_envs import Corridor
from scipy import stats
from torch.testing import assert_close

from metarl.core import params as P
from metarl.rl.environments import make_vec
from metarl.rl.policies import distribution, make_policy
from metarl.rl.sampler import Sampler
from metarl.seeding import TEST, TRAINING, VALIDATION, draw_tasks, task_rngs

NAVIGATION, CHEETAH = "metarl/PointNavigation-v0", "metarl/HalfCheetahDir-v0"


def sampler(source, tasks=3, episodes=2, horizon=12, seed=0, **options):
    env = make_vec(source, tasks * episodes, horizon=horizon, **options)
    net = make_policy(env.single_observation_space, env.single_action_space, (8,), seed, action_scale=0.1)
    return Sampler(env, net, tasks, episodes, horizon)


def play(s, tasks, iteration=0, seed=0):
    params = P.stack(P.params_of(s.policy), s.tasks)
    return s.sample(params, tasks, task_rngs(seed, 0, iteration, range(s.tasks))(0))


@pytest.mark.parametrize("source", [NAVIGATION, CHEETAH])
def test_episodes_are_those_of_single_environments_played_one_by_one(source):
    s = sampler(source)
    tasks = s.env.sample_tasks(3, np.random.default_rng(5))
    if source == NAVIGATION:
        tasks[1] = 0.02  # so near that some episodes end early
    played = play(s, tasks)
    single = gymnasium.make(source, max_episode_steps=12)
    for k, rng in enumerate(task_rngs(0, 0, 0, range(3))(0)):
        seeds = (rng.random(2) * 2**31).astype(int).tolist()
        noise = s.policy.noise(rng, (12, 2))
        single.get_wrapper_attr("set_task")(tasks[k])
        for e in range(2):
            obs, _ = single.reset(seed=seeds[e])
            total, t, done = 0.0, 0, False
            while not done:
                actions = distribution(s.policy, P.params_of(s.policy), torch.from_numpy(obs).float()[None])
                action = actions.sample(torch.from_numpy(noise[t, e])[None])
                assert_close(played.obs[k, e, t], torch.from_numpy(obs).float(), atol=1e-5, rtol=1e-5)
                assert_close(played.act[k, e, t], action[0], atol=1e-5, rtol=1e-5)
                assert_close(played.logp[k, e, t], actions.log_prob(action)[0], atol=1e-5, rtol=1e-5)
                obs, reward, terminated, truncated, _ = single.step(s.policy.env_action(action)[0])
                total, t, done = total + float(reward), t + 1, terminated or truncated
            assert played.lengths[k, e] == t
            assert played.returns[k, e] == pytest.approx(total, rel=1e-4, abs=1e-5)


def test_what_comes_after_an_end_is_zero():
    s = sampler(NAVIGATION, episodes=30)
    played = play(s, np.array([[0.02, 0.02], [0.3, 0.3], [0.02, -0.02]]))
    after = played.mask == 0
    assert after.any()
    for values in (played.obs, played.act, played.rew[..., None], played.logp[..., None]):
        assert not values[after].any()
    assert played.steps == int(played.lengths.sum())


def test_a_task_plays_the_same_whatever_is_played_beside_it():
    tasks = np.array([[0.1, 0.2], [0.3, -0.1], [-0.4, 0.4]])
    three = play(sampler(NAVIGATION), tasks)
    s = sampler(NAVIGATION, tasks=1)
    rngs = task_rngs(0, 0, 0, [2])(0)
    alone = s.sample(P.stack(P.params_of(s.policy), 1), tasks[2:], rngs)
    assert_close(alone.obs[0], three.obs[2, :, : alone.obs.shape[2]])


def numbers(tasks, stream=0, iteration=0, phase=0, seed=0):
    return [rng.random(500) for rng in task_rngs(seed, stream, iteration, tasks)(phase)]


def test_a_task_draws_the_same_whichever_tasks_draw_before_it():
    assert_array_equal(numbers(range(40))[30:], numbers(range(30, 40)))
    spent = task_rngs(0, 0, 0, [29, 30])(0)
    next(spent).standard_exponential(7, dtype=np.float32)  # leaves half a number over
    assert_array_equal(next(spent).random(500), numbers([30])[0])


def test_no_two_tasks_phases_iterations_streams_or_seeds_share_numbers():
    drawn = numbers(range(40))
    for other in ({"stream": 1}, {"iteration": 1}, {"phase": 1}, {"seed": 1}, {"seed": 2**32}):
        drawn += numbers(range(40), **other)
    assert len(np.unique(drawn)) == 6 * 40 * 500


def test_no_two_streams_or_seeds_share_tasks():
    class Uniform:
        def sample_tasks(self, n, rng):
            return rng.random((n, 2))

    chosen = [(seed, stream) for seed in (0, 1, 2**32, 3 * 2**32) for stream in (TRAINING, VALIDATION, TEST)]
    drawn = [draw_tasks(Uniform(), 9, seed, stream) for seed, stream in chosen]
    drawn += [draw_tasks(Uniform(), 9, 0, TRAINING, iteration) for iteration in (0, VALIDATION, TEST)]
    assert len(np.unique(np.concatenate(drawn), axis=0)) == 9 * (12 + 3)


def test_numbers_of_neighbouring_tasks_and_phases_are_unrelated():
    first = np.array([numbers(range(800), phase=phase) for phase in range(4)])[..., :40]  # what a short batch sees
    assert stats.kstest(first.ravel(), "uniform").pvalue > 0.01
    for near in (1, 20):
        assert abs(np.corrcoef(first[:, near:].ravel(), first[:, :-near].ravel())[0, 1]) < 4 / np.sqrt(first.size)
    assert abs(np.corrcoef(first[1:].ravel(), first[:-1].ravel())[0, 1]) < 4 / np.sqrt(first.size)


def test_same_seed_same_bits_and_other_seeds_other_episodes():
    s = sampler(CHEETAH)
    tasks = np.ones((3, 1))
    first, again, other = play(s, tasks), play(s, tasks), play(s, tasks, iteration=1)
    assert torch.equal(first.obs, again.obs)
    assert torch.equal(first.act, again.act)
    assert not torch.equal(first.act, other.act)
    assert not torch.equal(first.act[0], first.act[1])


def test_trajectories_do_not_depend_on_the_number_of_threads():
    runs = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        runs.append(play(sampler(CHEETAH, nthread=threads), np.ones((3, 1))))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert torch.equal(runs[0].obs, runs[1].obs)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_any_gymnasium_environment_with_task_methods_plays(vectorization):
    s = sampler(Corridor, vectorization=vectorization)
    tasks = np.array([[1.0], [-1.0], [1.0]])
    played = play(s, tasks)
    s.env.close()
    assert played.act.dtype == torch.int64
    assert played.obs.shape == (3, 2, played.mask.shape[2], 1)
    for k in range(3):
        for e in range(2):
            n = int(played.lengths[k, e])
            x = played.obs[k, e, :n, 0]
            moves = 2 * played.act[k, e, :n] - 1
            assert_close(played.rew[k, e, :n], tasks[k, 0] * (x + moves).float(), check_dtype=False)
            assert n == 12 or abs(x[-1] + moves[-1]) == 3


@pytest.mark.parametrize("fault", ["reward", "observation"])
def test_what_is_not_finite_is_named_with_task_and_step(fault):
    s = sampler(lambda: Corridor(fault))
    played = play(s, np.array([[1.0], [-1.0], [1.0]]))
    assert played.faults
    for task, found in played.faults.items():
        value = [1.0, -1.0, 1.0][task]
        assert found.of(task) == f"{fault} is not finite in task {task} ([{value}]) at step 2"
    assert torch.isfinite(played.obs).all() and torch.isfinite(played.rew).all()


def test_an_action_that_is_not_finite_never_reaches_the_physics():
    s = sampler(CHEETAH)
    params = P.stack(P.params_of(s.policy), 3)
    params["log_std"] = params["log_std"].clone()
    params["log_std"][1] = 1000.0
    step, seen = s.env.step, []

    def watched(actions):
        seen.append(actions)
        return step(actions)

    s.env.step = watched
    played = s.sample(params, np.ones((3, 1)), task_rngs(0, 0, 0, range(3))(0))
    assert {task: fault.of(task) for task, fault in played.faults.items()} == {
        1: "action is not finite in task 1 ([1.0]) at step 0"
    }
    assert all(np.isfinite(actions).all() for actions in seen)


def test_episodes_of_a_single_step():
    s = sampler("metarl/Bandit-v0", horizon=1)
    played = play(s, s.env.sample_tasks(3, np.random.default_rng(0)))
    params = P.stack(P.params_of(s.policy), 3)
    actions = torch.func.functional_call(s.policy, {n: v[0] for n, v in params.items()}, (played.obs[0, 0],))
    assert_close(played.logp[0, 0], actions.log_prob(played.act[0, 0]))
