"""VariBAD: the belief begins at the prior, its bound is the paper's, and policy and belief learn apart."""

import math

import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call
from torch.testing import assert_close

import metarl
from metarl import UserError
from metarl.core import params as P
from metarl.methods import RL2, VariBAD
from metarl.rl.advantages import gae, normalise
from metarl.rl.belief import MIN_LOG_STD, BeliefPolicy
from metarl.rl.belief_bound import BeliefGradient
from metarl.rl.episodes import Episodes
from metarl.rl.lifetimes import Lifetimes, join
from metarl.rl.recurrent import Memory
from metarl.workers.objective import WorkersObjective

K, D = 2, 3
LENGTHS = [[[2, 3], [3, 1]], [[1, 2], [2, 2]]]
"""Steps of two episodes of two lifetimes in two tasks."""


def policy(discrete=True):
    actions = spaces.Discrete(3) if discrete else spaces.Box(-1.0, 1.0, (2,))
    net = BeliefPolicy(spaces.Box(-1.0, 1.0, (2,)), actions, (4, 3), seed=0, latent=D, decoder=4).double()
    net.reward_unit.data = torch.tensor([0.3, 2.0]).double()
    return net


def played(lengths, seed):
    g = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    mask = (torch.arange(int(lengths.max())) < lengths[..., None]).double()
    obs = torch.randn(*mask.shape, 2, generator=g, dtype=torch.float64) * mask[..., None]
    act = torch.randint(3, mask.shape, generator=g) * mask.long()
    rew = torch.randn(mask.shape, generator=g, dtype=torch.float64) * mask
    return Episodes(obs=obs, act=act, rew=rew, mask=mask, logp=torch.zeros_like(rew), adv=torch.zeros_like(rew))


def lifetimes(net):
    """Random lifetimes of ragged length in float64."""
    life = join(net, [played([task[e] for task in LENGTHS], e) for e in range(2)])
    g = torch.Generator().manual_seed(9)

    def draw(*more):
        return torch.randn(*life.mask.shape, *more, generator=g, dtype=torch.float64)

    values = {name: getattr(life, name) for name in ("obs", "act", "rew", "mask", "logp")}
    values |= {"adv": draw() * life.mask, "ret": 2 + 3 * draw() * life.mask, "noise": draw(D + 2)}
    return Lifetimes(**values, context=draw(2 * D) * life.mask[..., None])


def beliefs(net, inputs):
    """The encoder's beliefs `[K, E, L, D]`, mean and log-variance, and its memory in the end."""
    params = {name.removeprefix("encoder."): value for name, value in P.stack(P.params_of(net), K).items()}
    own = {name: params[name] for name, _ in net.encoder.named_parameters()}
    start = torch.zeros(K, 2, net.size, dtype=torch.float64)
    inputs = inputs.clone()
    inputs[..., -2] = (inputs[..., -2] - 0.3) / 2 * inputs[..., 2]  # rewards in their unit, where there is one
    found, after = functional_call(net.encoder, own, (inputs, start))
    return *found.chunk(2, dim=-1), after


def learned(vector, params):
    """All of a vector but the units, which no gradient moves."""
    parts = P.unflatten(vector, params)
    return torch.cat([value.flatten() for name, value in parts.items() if name not in VariBAD.units])


def test_before_any_transition_the_belief_is_the_prior():
    net = policy()
    life = lifetimes(net)
    mean, log_var, after = beliefs(net, life.obs)
    assert not mean[:, :, 0].any() and not log_var[:, :, 0].any()  # N(0, 1)
    assert mean[:, :, 1].all() and log_var[:, :, 1].all() and after.all()
    assert not beliefs(net, life.obs[:, :, :1])[-1].any()  # an observation alone is no transition


def test_policy_and_critic_see_mean_and_standard_deviation():
    net = policy()
    life, params = lifetimes(net), P.stack(P.params_of(net), K)
    start = torch.zeros(K, 2, net.size, dtype=torch.float64)
    mean, log_var = life.context.chunk(2, dim=-1)
    seen = torch.cat([life.obs[..., :2], mean, (0.5 * log_var).exp()], dim=-1).flatten(1, 2)
    found, _ = functional_call(net, params, (life.obs, start, life.context))
    actor = functional_call(net.actor, P.of_part("actor.", params), (seen,))
    head = functional_call(net.critic.head, P.of_part("critic.head.", params), (seen,))
    assert_close(found.actions.logits, actor.logits)
    assert_close(found.value, head)


@pytest.mark.parametrize("cut", [True, False])
def test_a_lifetime_is_cut_or_ends(cut):
    """The last step has the advantage of a mean one where it is cut, and no error of the critic."""
    model = metarl.VariBAD(
        "metarl/HalfCheetahVel-v0", bootstrap=cut, tasks=2, episodes=1, horizon=6, hidden=(8, 4), eval_tasks=2
    )
    (worker,) = model.trainer.workers.workers
    model.trainer.workers.collect(P.flatten(model.trainer.params.values()), 0)
    life, losses = worker.batch.query, worker.inner_loop.losses
    values = losses.worth(losses.own(model.trainer.params), life)
    raw = gae(life.rew, values, life.mask, model.trainer.config.discount, model.trainer.config.gae_lambda, cut)
    assert_close(life.adv, normalise(raw, life.mask))
    assert_close(life.ret, (raw + values) * life.mask)
    assert torch.equal(life.ret[..., 11], values[..., 11]) == cut
    model.close()


def test_the_bound_is_the_papers_sum():
    """Every posterior judged by every reward, past and future, minus the divergence from the posterior before."""
    net = policy()
    life, losses = lifetimes(net), BeliefGradient(net, kl_coef=0.7)
    found = losses.outputs(P.stack(P.params_of(net), K), life).bound()[..., 0]
    mean, log_var, _ = beliefs(net, life.obs)
    for k, e in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        steps = sum(LENGTHS[k][e])
        before, total = Normal(torch.zeros(D).double(), torch.ones(D).double()), 0.0
        for t in range(steps):
            belief = Normal(mean[k, e, t], (0.5 * log_var[k, e, t]).exp())
            sample = belief.mean + belief.stddev * life.noise[k, e, t, :D]
            for i in range(steps):
                step = torch.cat([life.obs[k, e, i, :2], torch.eye(3).double()[life.act[k, e, i]]])
                features = torch.tanh(net.decoder.by_latent(sample) + net.decoder.by_step(step))
                reward = Normal(net.decoder.rest(features), net.decoder.log_std.exp())
                total = total + reward.log_prob((life.rew[k, e, i] - 0.3) / 2)
            total = total - 0.7 * kl_divergence(belief, before).sum()
            before = belief
        assert_close(found[k, e], total.sum() / steps**2)


def test_of_a_long_lifetime_a_choice_of_steps_estimates_the_bound():
    net = policy()
    life = lifetimes(net)
    stacked = P.stack(P.params_of(net), K)
    whole = BeliefGradient(net).outputs(stacked, life).bound()
    g, parts = torch.Generator().manual_seed(1), []
    for _ in range(400):
        noise = life.noise.clone()
        noise[..., -2:] = torch.randn(noise[..., -2:].shape, generator=g, dtype=torch.float64)  # the choice alone
        chosen = Lifetimes(**{name: getattr(life, name) for name in Lifetimes.STEPPED if name != "noise"}, noise=noise)
        parts.append(BeliefGradient(net, points=2).outputs(stacked, chosen).bound())
    each = torch.stack(parts)
    error = 4 * each.std(0) / math.sqrt(len(parts))
    assert ((each.mean(0) - whole).abs() <= error + 1e-12).all() and each.std(0).max() > 0.01


def test_the_policys_gradient_is_the_derivative_of_its_objective_and_spares_the_belief():
    method, net = VariBAD(vf_coef=0.3, ent_coef=0.1), policy()
    life, losses = lifetimes(net), BeliefGradient(net)
    params = method.initial(P.params_of(net))
    old = losses.outputs(P.stack(params, K), life)

    def objective(vector):
        new = losses.outputs(P.stack(P.unflatten(vector, params), K), life)
        return method.meta_loss(losses, lambda _: new, lambda _: old, [life], {}).mean()

    here = P.flatten(params.values()) + 0.01
    gradient = torch.autograd.functional.jacobian(objective, here)
    numeric = tiny.finite_difference(lambda v: objective(v).detach(), here)
    assert_close(*(learned(vector, params) for vector in (gradient, numeric)), rtol=1e-5, atol=1e-8)
    moved = {name for name, value in P.unflatten(gradient, params).items() if value.any()}
    assert moved and all(name.startswith(("actor.", "critic.head")) for name in moved)


def test_the_policy_is_judged_on_the_beliefs_that_it_had():
    """However the encoder's change, the played actions' probabilities stay those they had."""
    net = policy()
    life, losses, params = lifetimes(net), BeliefGradient(net), P.params_of(net)
    life = losses.given(params, life)
    mean, log_var, _ = beliefs(net, life.obs)
    assert_close(life.context, torch.cat([mean, log_var], dim=-1) * life.mask[..., None])
    before = losses.outputs(P.stack(params, K), life)
    moved = {name: value + name.startswith(("encoder.", "decoder.")) for name, value in params.items()}
    after = losses.outputs(P.stack(moved, K), life)
    assert torch.equal(before.actions.logits, after.actions.logits) and torch.equal(before.value, after.value)
    assert (before.bound() != after.bound()).all()


def test_the_bound_moves_the_belief_alone_and_rises():
    model = metarl.VariBAD(
        "metarl/GridNavigation-v0",
        tasks=4,
        episodes=4,
        horizon=6,
        hidden=(8, 4),
        epochs=5,
        minibatches=4,
        elbo_epochs=3,
        eval_tasks=2,
    )
    trainer, method = model.trainer, model.trainer.config.method
    params, like = P.flatten(trainer.params.values()), trainer.params
    trainer.workers.collect(params, 0)
    objective = WorkersObjective(trainer.workers)
    told = objective.given(elbo=1.0)
    acted, acting, _ = RL2.update(method, objective, params, method.initial_state(params))
    both, state, metrics = method.update(objective, params, method.initial_state(params))
    changed = {name for name, value in P.unflatten(both - acted, like).items() if value.any()}
    assert changed and all(name.startswith(("encoder.", "decoder.")) for name in changed)
    assert state["t"] == acting["t"] == 20 and state["belief.t"] == 12  # passes times minibatches
    assert told.loss_and_kl(both)[0] < told.loss_and_kl(acted)[0] < -metrics["elbo"] + 0.1
    model.close()


def test_the_gradient_of_the_bound_reaches_the_encoder():
    net = policy()
    life, losses = lifetimes(net), BeliefGradient(net)
    params = P.params_of(net)

    def bound(vector):
        new = losses.outputs(P.stack(P.unflatten(vector, params), K), life)
        return losses.elbo(new, life).mean()

    here = P.flatten(params.values()) + 0.01
    gradient = torch.autograd.functional.jacobian(bound, here)
    numeric = tiny.finite_difference(lambda v: bound(v).detach(), here)
    assert_close(*(learned(vector, params) for vector in (gradient, numeric)), rtol=1e-5, atol=1e-8)
    assert P.unflatten(gradient, params)["encoder.memory_weight"].any()


def test_lifetimes_do_not_see_each_other():
    net = policy()
    life, losses, params = lifetimes(net), BeliefGradient(net), P.params_of(net)
    before = losses.given(params, life).context, losses.outputs(P.stack(params, K), life).bound()
    life.obs[0, 1, 1] += 1.0
    after = losses.given(params, life).context, losses.outputs(P.stack(params, K), life).bound()
    changed = (before[0] != after[0]).any(-1)
    assert changed[0, 1].tolist() == [False, True, True, True, False] and changed.sum() == 3  # four steps taken
    assert (before[1] != after[1]).flatten().tolist() == [False, True, False, False]


@pytest.mark.parametrize("discrete", [True, False], ids=["categorical", "gaussian"])
def test_the_prepared_pass_is_the_pass(discrete):
    """Step by step, to the last bit, in lifetimes that begin and in those that go on."""
    net = policy(discrete).float()
    params, g = P.stack(P.params_of(net), K), torch.Generator().manual_seed(0)
    forward, memory = net.prepared(params), torch.randn(K, 5, net.size, generator=g)
    for step in range(3):
        inputs = torch.randn(K, 5, 1, 2 + net.before_size, generator=g)
        inputs[..., 2] = 1.0
        inputs[:, : 3 - step, :, 2] = 0.0  # lifetimes without a transition yet
        expected, after = functional_call(net, params, (inputs, memory))
        actual, memory = forward(inputs, memory)
        assert torch.equal(memory, after)
        for mine, true in zip(actual.parameters, expected.actions.parameters, strict=True):
            assert torch.equal(mine, true)


def test_the_update_sees_the_policy_that_played():
    model = metarl.VariBAD(
        "metarl/GridNavigation-v0", lifetime=3, tasks=4, episodes=3, horizon=6, hidden=(8, 4), eval_tasks=2
    )
    (worker,) = model.trainer.workers.workers
    model.trainer.workers.collect(P.flatten(model.trainer.params.values()), 0)
    life = worker.batch.query
    outputs = worker.inner_loop.losses.outputs(P.stack(model.trainer.params, 4), life)
    logp = outputs.log_prob(life.act.flatten(1, 2)) * life.mask.flatten(1)
    assert_close(logp, life.logp.flatten(1), rtol=1e-4, atol=1e-5)
    assert (
        life.context.shape == (4, 3, 18, 10)
        and life.noise.shape == (4, 3, 18, 7)
        and abs(float(life.noise.mean())) < 0.1
    )
    memory = worker.inner_loop.start(model.trainer.params)
    assert isinstance(memory, Memory) and not memory.before.any()
    action, _ = model.policy.predict(np.zeros(2))
    assert 0 <= action < 5
    model.close()


def test_mistakes_are_clear():
    with pytest.raises(UserError, match="latent must be at least 1, got 0"):
        metarl.VariBAD("metarl/GridNavigation-v0", latent=0)
    with pytest.raises(UserError, match="elbo_epochs must be at least 1, got 0"):
        VariBAD(elbo_epochs=0)
    with pytest.raises(UserError, match="vf_coef must be positive"):
        VariBAD(vf_coef=0.0)
    with pytest.raises(UserError, match="memory must stay 'gru', got 'lstm'"):
        VariBAD(memory="lstm")
    assert MIN_LOG_STD < 0


def test_lifetimes_of_many_lengths_are_computed_at_few():
    """A recursion over one of them takes as long as over all."""
    net, lengths = policy(), list(range(1, 21))
    life = join(net, [played([[steps] for steps in lengths], e) for e in range(2)], longest=40)
    assert life.mask.shape[-1] == 40
    assert all(2 * steps <= span <= max(4 * steps - 1, 2) for steps, span in zip(lengths, life.spans, strict=True))
    assert len(set(life.spans)) == 6
    episodes = played([[steps] for steps in lengths], 0)
    assert len(set(episodes.spans)) == 13
