"""Episodes that truncate themselves before the horizon: what they would still have earned counts."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.testing import assert_close

from metarl.core import params as P
from metarl.methods import RL2
from metarl.rl.advantages import BASELINES, value_beyond, with_advantages
from metarl.rl.environments import make_vec
from metarl.rl.episodes import Episodes
from metarl.rl.lifetimes import LifetimeGradient
from metarl.rl.memory_loop import MemoryInnerLoop
from metarl.rl.policies import make_policy
from metarl.rl.recurrent import RecurrentPolicy
from metarl.rl.sampler import Sampler

HORIZON = 20


class Costly(gymnasium.Env):
    """Every step costs 1; three episodes in ten truncate themselves, as simulations that diverge would."""

    observation_space = spaces.Box(-1.0, 1.0, (1,))
    action_space = spaces.Box(-1.0, 1.0, (1,))
    task_space = spaces.Box(0.0, 0.0, (1,), np.float64)
    ends_at = 3

    def sample_tasks(self, n, rng):
        return np.zeros((n, 1))

    def set_task(self, task):
        self.task = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.doomed = 0, bool(self.np_random.random() < 0.3)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(1, self.t / HORIZON, np.float32), -1.0, False, self.doomed and self.t == self.ends_at, {}


def probe(cut_at: int = 3, tasks: int = 2, episodes: int = 6) -> Episodes:
    """Episodes in which every step costs 1; the first of the first task truncates itself."""
    shape = (tasks, episodes, HORIZON)
    mask = torch.ones(shape)
    mask[0, 0, cut_at:] = 0
    obs = (0.1 * torch.randn(*shape, 1, generator=torch.Generator().manual_seed(0))) * mask[..., None]
    zeros = torch.zeros(shape)
    return Episodes(obs=obs, act=zeros, rew=-mask, mask=mask, logp=zeros, adv=zeros, cut={(0, 0): torch.zeros(1)})


def test_diverging_does_not_pay_where_rewards_are_negative():
    played = probe()
    pays = with_advantages(replace(played, cut={}), 0.97, 0.9)
    fair = with_advantages(played, 0.97, 0.9)
    assert pays.adv[0, 0, 2] > 1  # what an end there would earn
    assert abs(fair.adv[0, 0, 2]) < 0.5 * pays.adv[0, 0, 2]
    later = -(1 - 0.97 ** (HORIZON - 3)) / (1 - 0.97)  # what the 17 steps after it cost
    assert_close(value_beyond(played, 0.97)[0, 0, 2], torch.tensor(0.97 * later), rtol=0.02, atol=0)


@pytest.mark.parametrize("baseline", ["linear", "network"])
def test_only_the_last_step_is_worth_more_and_other_tasks_keep_every_bit(baseline):
    played = probe()
    beyond = value_beyond(played, 0.97, BASELINES[baseline])
    assert torch.equal(beyond.nonzero(), torch.tensor([[0, 0, 2]]))
    without = with_advantages(replace(played, cut={}), 0.97, 0.9, BASELINES[baseline])
    assert torch.equal(with_advantages(played, 0.97, 0.9, BASELINES[baseline]).adv[1], without.adv[1])
    assert torch.equal(with_advantages(played, 0.97, 0.9).rew, played.rew)


def test_a_value_lies_among_the_returns_it_is_fitted_to():
    played = probe()
    wild = replace(played, cut={(0, 0): torch.full((1,), 1e9)})
    lowest = -(1 - 0.97**HORIZON) / (1 - 0.97)
    assert 0.97 * lowest * (1 + 1e-5) <= value_beyond(wild, 0.97)[0, 0, 2] <= -0.97


def test_where_every_episode_of_a_task_ends_so_the_ends_count_as_ends():
    played = probe(episodes=1)
    assert not value_beyond(played, 0.97).any()
    assert torch.isfinite(with_advantages(played, 0.97, 0.9, BASELINES["network"]).adv).all()


def test_the_sampler_keeps_the_last_observation_of_what_ends_before_the_horizon(monkeypatch):
    env = make_vec(Costly, 8, horizon=HORIZON)
    policy = make_policy(env.single_observation_space, env.single_action_space, (4,), seed=0)
    sampler = Sampler(env, policy, 2, 4, HORIZON)
    rngs = [np.random.default_rng(i) for i in range(2)]
    played = sampler.sample(P.stack(P.params_of(policy), 2), np.zeros((2, 1)), rngs)
    short = {tuple(at) for at in (played.lengths < HORIZON).nonzero().tolist()}
    assert 0 < len(short) < 8
    assert played.cut.keys() == short
    for last in played.cut.values():
        assert_close(last, torch.tensor([3 / HORIZON]))
    monkeypatch.setattr(Costly, "ends_at", HORIZON)
    assert not sampler.sample(P.stack(P.params_of(policy), 2), np.zeros((2, 1)), rngs).cut
    env.close()


def test_diverging_does_not_pay_in_a_lifetime_either():
    env = make_vec(Costly, 12, horizon=HORIZON)
    policy = RecurrentPolicy(env.single_observation_space, env.single_action_space, (4, 4), seed=0)
    loop = MemoryInnerLoop(Sampler(env, policy, 1, 12, HORIZON), LifetimeGradient(policy), RL2(), 0.97, 0.9)
    params = P.params_of(policy)
    phases = []
    for _, episodes in loop.play(params, np.zeros((1, 1)), lambda phase: iter([np.random.default_rng(phase)])):
        phases.append(episodes)
        if len(phases) == 2:
            break
    assert phases[0].cut
    fair = loop.arrange(phases, params, iter)[1]
    pays = loop.arrange([replace(e, cut={}) for e in phases], params, iter)[1]
    early = [episode for _, episode in phases[0].cut]
    assert fair.adv[0, early, 2].mean() < pays.adv[0, early, 2].mean() - 0.5
    assert torch.equal(fair.rew, pays.rew) and torch.equal(fair.obs, pays.obs)
    env.close()
