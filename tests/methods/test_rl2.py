"""RL²: the memory in the sampler and in the update are one, and it learns a bandit."""

import pickle

import gymnasium
import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from torch.func import functional_call
from torch.testing import assert_close

import metarl
from metarl import UserError
from metarl.core import params as P
from metarl.experiment.config_file import as_dict, from_dict
from metarl.methods import RL2
from metarl.rl.episodes import Episodes
from metarl.rl.lifetimes import LifetimeGradient, Lifetimes, join
from metarl.rl.recurrent import RecurrentPolicy

SIZES = {"tasks": 4, "episodes": 3, "horizon": 6, "hidden": (8, 4), "eval_tasks": 2, "eval_episodes": 2}


class Bandit(gymnasium.Env):
    """Two arms, one of which pays; the task says which."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)
    task_space = spaces.Box(0.0, 1.0, (1,))

    def sample_tasks(self, n, rng):
        return rng.integers(2, size=(n, 1)).astype(float)

    def set_task(self, task):
        self.task = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), float(action == self.task[0]), False, False, {}


class Paying(Bandit):
    """Pays 100 for whatever is done."""

    def step(self, action):
        return np.ones(1, np.float32), 100.0, False, False, {}


def played(policy, lengths, seed):
    """Random episodes of the lengths given, `[K, E]`."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    t = int(lengths.max())
    mask = (torch.arange(t) < lengths[..., None]).float()
    shape = (*lengths.shape, t)
    act = torch.randint(3, shape, generator=g) * mask.long()
    obs = torch.randn(*shape, 2, generator=g) * mask[..., None]
    rew = torch.randn(shape, generator=g) * mask
    return Episodes(obs=obs, act=act, rew=rew, mask=mask, logp=torch.zeros(shape), adv=torch.zeros(shape))


MEMORIES = pytest.mark.parametrize("memory", ["gru", "lstm"])


@MEMORIES
def test_params_keep_the_order_that_checkpoints_have(memory):
    policy = RecurrentPolicy(spaces.Box(-1, 1, (2,)), spaces.Discrete(3), (3,), seed=0, memory=memory)
    names = ["input_weight", "input_bias", "memory_weight", "memory_bias"]
    assert [name for name in P.params_of(policy) if "." not in name] == names
    params = P.params_of(policy)
    biases = torch.cat([params["input_bias"], params["memory_bias"]]).tolist()
    forget = [0.0] * 3 + [1.0] * 3 + [0.0] * 18
    assert biases == (forget if memory == "lstm" else [0.0] * 18)


def test_a_lifetime_is_its_episodes_one_after_another():
    policy = RecurrentPolicy(spaces.Box(-1, 1, (2,)), spaces.Discrete(3), (5,), seed=0)
    first, second = played(policy, [[2, 3]], 0), played(policy, [[1, 2]], 1)
    life = join(policy, [first, second])
    assert life.mask.tolist() == [[[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]]
    row = life.obs[0, 0]  # observation, one-hot action before, reward before, whether an episode ended there
    assert_close(row[:3, :2], torch.cat([first.obs[0, 0, :2], second.obs[0, 0, :1]]))
    assert not row[0, 2:].any()
    assert row[1, 2:5].argmax() == first.act[0, 0, 0] and row[2, 2:5].argmax() == first.act[0, 0, 1]
    assert row[1:3, 5].tolist() == first.rew[0, 0, :2].tolist()
    assert row[:3, 6].tolist() == [0, 0, 1]
    assert not row[3:].any()
    assert_close(life.rew[0, 1], torch.cat([first.rew[0, 1], second.rew[0, 1]]))


@MEMORIES
@pytest.mark.parametrize("env", ["metarl/PointNavigation-v0", Bandit], ids=["gaussian", "categorical"])
def test_the_update_sees_the_policy_that_played(env, memory):
    model = metarl.RL2(env, lifetime=3, memory=memory, **SIZES)
    (worker,) = model.trainer.workers.workers
    data = model.trainer.workers.collect(P.flatten(model.trainer.params.values()), 0)
    assert len(data["returns"]) == 3 and data["returns"][0].shape == (4, 3)
    life = worker.batch.query
    outputs = worker.inner_loop.losses.outputs(P.stack(model.trainer.params, 4), life)
    logp = outputs.log_prob(life.act.flatten(1, 2)) * life.mask.flatten(1)
    assert_close(logp, life.logp.flatten(1), rtol=1e-4, atol=1e-5)
    assert data["steps"] == life.steps
    model.close()


@MEMORIES
@pytest.mark.parametrize("embedding", [0, 6])
@pytest.mark.parametrize("actions", [spaces.Box(-1, 1, (2,)), spaces.Discrete(4)], ids=["gaussian", "categorical"])
def test_the_prepared_pass_is_the_pass(memory, embedding, actions):
    """Step by step, to the last bit."""
    observations = spaces.Box(-np.inf, np.inf, (3,))
    policy = RecurrentPolicy(observations, actions, (8, 5), 1, embedding=embedding, critic=True, memory=memory)
    params, g = P.stack(P.params_of(policy), 2), torch.Generator().manual_seed(0)
    forward, state = policy.prepared(params), torch.randn(2, 5, policy.size, generator=g)
    for _ in range(3):
        inputs = torch.randn(2, 5, 1, 3 + policy.before_size, generator=g)
        expected, after = functional_call(policy, params, (inputs, state))
        actual, state = forward(inputs, state)
        assert torch.equal(state, after)
        for mine, true in zip(actual.parameters, expected.parameters, strict=True):
            assert torch.equal(mine, true)


def test_a_memory_that_has_acted_can_be_pickled():
    model = metarl.RL2("metarl/PointNavigation-v0", **SIZES).learn(iterations=1)
    policy = model.adapt([0.3, 0.3])
    policy.predict(np.zeros(2))
    policy.see(-1.0)
    again = pickle.loads(pickle.dumps(policy))
    np.testing.assert_array_equal(*(p.predict(np.ones(2), deterministic=True)[0] for p in (policy, again)))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"vf_coef": 0.3},
        {"ent_coef": 0.2},
        {"embedding": 4, "vf_coef": 0.3},
        {"memory": "lstm", "embedding": 4, "vf_coef": 0.3},
    ],
    ids="-".join,
)
def test_the_gradient_is_the_derivative_of_the_objective(more):
    method = RL2(**{"vf_coef": 0.0, **more})
    spaces_ = spaces.Box(-1, 1, (2,)), spaces.Discrete(3)
    parts = {"critic": method.vf_coef > 0, "embedding": method.embedding, "memory": method.memory}
    policy = RecurrentPolicy(*spaces_, (3, 2), seed=0, **parts).double()
    life = join(policy, [played(policy, [[2, 3], [3, 1]], 0), played(policy, [[1, 2], [2, 2]], 1)])
    doubles = {n: getattr(life, n).double() for n in ("obs", "rew", "mask", "logp")}
    g = torch.Generator().manual_seed(2)
    adv, ret = torch.randn(2, *life.mask.shape, dtype=torch.float64, generator=g) * doubles["mask"]
    life = Lifetimes(act=life.act, adv=adv, ret=5 + 3 * ret, noise=life.noise, context=life.context, **doubles)
    params = method.initial(P.params_of(policy))
    problem = LifetimeGradient(policy)
    old = problem.outputs(P.stack(params, 2), life)

    def objective(vector):
        new = problem.outputs(P.stack(P.unflatten(vector, params), 2), life)
        return method.meta_loss(problem, lambda _: new, lambda _: old, [life], {}).mean()

    here = P.flatten(params.values()) + 0.01
    gradient = torch.autograd.functional.jacobian(objective, here)
    numeric = tiny.finite_difference(lambda v: objective(v).detach(), here)
    if method.vf_coef:  # the critic's units are constants of the loss
        assert list(params)[-1] == "critic.unit" and not gradient[-2:].any()
        gradient, numeric = gradient[:-2], numeric[:-2]
    assert_close(gradient, numeric, rtol=1e-5, atol=1e-8)


def test_the_critic_sees_the_rest_of_the_lifetime_across_its_episodes():
    """With λ = 1 it should say the discounted return to come, later episodes' too."""
    model = metarl.RL2("metarl/PointNavigation-v0", lifetime=3, vf_coef=0.5, discount=0.9, gae_lambda=1.0, **SIZES)
    (worker,) = model.trainer.workers.workers
    model.trainer.workers.collect(P.flatten(model.trainer.params.values()), 0)
    life = worker.batch.query
    for k, e, t in [(0, 0, 0), (1, 2, 5), (3, 1, 17)]:
        rest = life.rew[k, e, t:]
        assert_close(life.ret[k, e, t], (0.9 ** torch.arange(len(rest)) * rest).sum(), rtol=1e-4, atol=1e-4)
    mean, square = worker.step_moments("ret")
    assert_close(torch.tensor(mean), life.ret.double().mean((1, 2)).float())
    assert_close(torch.tensor(square), life.ret.double().square().mean((1, 2)).float())
    model.close()


def test_the_critic_learns_returns_in_units_of_its_own():
    """One task whose reward is 100 in every step: the values come out in hundreds, though no weight does."""
    model = metarl.RL2(Paying, lifetime=2, discount=0.5, gae_lambda=1.0, outer_lr=0.02, vf_coef=1.0, **SIZES)
    model.learn(20)
    (worker,) = model.trainer.workers.workers
    life = worker.batch.query
    policy_params = {name: value for name, value in model.trainer.params.items()}
    worth = worker.inner_loop.losses.worth(policy_params, life)
    assert_close(worth[:, :, 3:8], torch.full((4, 3, 5), 200.0), rtol=0.1, atol=0)
    assert max(float(value.abs().max()) for name, value in policy_params.items() if name != "critic.unit") < 5
    model.close()


@MEMORIES
def test_memory_does_not_leak_between_lifetimes_or_tasks(memory):
    """What one lifetime sees changes nothing in another one's actions."""
    parts = {"embedding": 4, "critic": True, "memory": memory}
    policy = RecurrentPolicy(spaces.Box(-1, 1, (2,)), spaces.Discrete(3), (5,), seed=0, **parts)
    params, losses = P.stack(P.params_of(policy), 2), LifetimeGradient(policy)
    life = join(policy, [played(policy, [[2, 3], [3, 1]], 0), played(policy, [[1, 2], [2, 2]], 1)])
    before = losses.outputs(params, life)
    life.obs[0, 1, 0] += 1.0  # the first step of the first task's second lifetime
    after = losses.outputs(params, life)
    for old, new in ((before.actions.logits, after.actions.logits), (before.value, after.value)):
        changed = (old != new).any(-1).view(life.mask.shape)
        assert changed[0, 1].all() and changed.sum() == changed[0, 1].sum()


@MEMORIES
@pytest.mark.parametrize("truncation", [2, 3, 7, 100])
def test_truncated_the_gradient_is_that_of_a_loop_which_detaches_the_memory(truncation, memory):
    """And with as many steps as a lifetime has, the exact one."""
    spaces_ = spaces.Box(-1, 1, (2,)), spaces.Discrete(3)
    usual = {"hidden": (3, 2), "seed": 0, "embedding": 4, "memory": memory}
    policy, exact = (RecurrentPolicy(*spaces_, **usual, truncation=t).double() for t in (truncation, 0))
    g = torch.Generator().manual_seed(1)
    inputs = torch.randn(2, 3, 7, 2 + policy.before_size, dtype=torch.float64, generator=g)
    weight = torch.randn(2, 3, 7, 3, dtype=torch.float64, generator=g)

    def gradient(policy, parts):
        params = {n: v.detach().requires_grad_() for n, v in P.stack(P.params_of(policy), 2).items()}
        at, total = torch.zeros(2, 3, policy.size, dtype=torch.float64), 0.0
        for part, w in zip(inputs.split(parts, dim=2), weight.split(parts, dim=2), strict=True):
            actions, at = functional_call(policy, params, (part, at.detach()))
            total = total + (actions.logits * w.flatten(1, 2)).sum()
        return P.flatten_stacked(P.grad(total, list(params.values())))

    truncated = gradient(policy, 7)
    assert_close(truncated, gradient(exact, min(truncation, 7)))
    assert torch.allclose(truncated, gradient(exact, 7)) == (truncation >= 7)


def test_a_run_from_before_the_critic_loads_without_one(tmp_path):
    model = metarl.RL2(Bandit, lifetime=2, vf_coef=0, max_grad_norm=None, **SIZES)
    saved = as_dict(model.config)
    for name in ("vf_coef", "ent_coef", "embedding", "truncation", "memory"):
        del saved["method"][name]
    del saved["method"]["outer"]["max_grad_norm"]
    assert from_dict(saved).method == model.config.method
    model.close()


def test_an_lstm_goes_on_and_loads_as_it_was(tmp_path):
    """Cells begin empty with each lifetime: a resumed run, and a file, hold all that there is."""
    usual = {"lifetime": 2, "memory": "lstm", "vf_coef": 0.5, **SIZES}
    whole = metarl.RL2("metarl/PointNavigation-v0", **usual).learn(3)
    run = metarl.RL2("metarl/PointNavigation-v0", log_dir=tmp_path / "run", **usual).learn(2)
    run.close()
    resumed = metarl.load(tmp_path / "run").learn(1)
    whole.save(tmp_path / "model.safetensors")
    loaded = metarl.load(tmp_path / "model.safetensors")
    assert loaded.config.method.memory == "lstm"
    for other in (resumed, loaded):
        assert all(torch.equal(value, whole.trainer.params[name]) for name, value in other.trainer.params.items())
    tasks, obs = [[0.3, 0.2], [-0.4, 0.1]], np.ones((4, 2))
    expected, again = (m.adapt(tasks, seed=3).predict(obs, deterministic=True)[0] for m in (whole, loaded))
    assert np.array_equal(again, expected) and not np.array_equal(expected[:2], expected[2:])
    for model in (whole, resumed, loaded):
        model.close()


@MEMORIES
def test_it_learns_a_bandit(memory):
    sizes = {"tasks": 20, "episodes": 4, "horizon": 2, "lifetime": 3, "hidden": (16,), "eval_tasks": 1}
    model = metarl.RL2(Bandit, **sizes, outer_lr=0.01, memory=memory)
    model.learn(20)
    curve = metarl.adaptation_curve(model, steps=2, tasks=20, episodes=4)
    assert curve.unit == "episodes seen"
    assert curve.mean[0] < 1.8  # the first pull is a guess
    assert curve.mean[2] > 1.7  # chance is 1
    for arm in (0, 1):
        adapted = model.adapt([arm], seed=3)
        assert adapted.predict(np.ones(1), deterministic=True)[0] == arm
        several = model.adapt([arm], seed=3)
        assert several.predict(np.ones((4, 1)), deterministic=True)[0].tolist() == [arm] * 4
        new = model.policy
        for _ in range(2):
            pulled = new.predict(np.ones(1), deterministic=True)[0]
            new.see(float(pulled == arm), done=True)
        assert new.predict(np.ones(1), deterministic=True)[0] == arm
    forgetful = model.policy
    assert forgetful.predict(np.ones(1))[0] in (0, 1)
    with pytest.warns(UserWarning, match=r"call see\(reward, done\) after each step"):
        forgetful.predict(np.ones(1))  # as evaluate_policy does
    model.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lifetime": 1}, "lifetime must be at least 2"),
        ({"hidden": ()}, "rl2 needs a memory"),
        ({"truncation": -1}, "truncation must be"),
        ({"memory": "lstn"}, "memory must be one of gru, lstm, got 'lstn'"),
        ({"outer": metarl.TRPO()}, "PPO or Adam, got TRPO"),
        ({"inner_lr": 0.1}, "unknown setting 'inner_lr'; method maml, .*, e-maml have it, rl2 has not"),
        ({"inner_los": "dice"}, r"unknown setting 'inner_los'(?!.*inner_loss)"),
        ({"clipp": 0.1}, "unknown setting 'clipp'; did you mean 'clip'"),
        ({"cg_damping": 0.1}, "unknown setting 'cg_damping'; outer trpo has it, ppo has not"),
    ],
)
def test_mistakes_are_clear(settings, words):
    with pytest.raises(UserError, match=words):
        metarl.RL2("metarl/PointNavigation-v0", **settings)
