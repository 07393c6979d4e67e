"""The Python API, as scripts use it."""

import dataclasses
import json

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

import metarl
from metarl import UserError
from metarl.cli.train_options import Train, parse_train
from metarl.experiment.config import Config
from metarl.experiment.trainer import Trainer
from metarl.models.methods import MODELS
from metarl.rl.inner_loop import PolicyInnerLoop
from metarl.seeding import TEST, TRAINING, VALIDATION, draw_tasks

ENV = "metarl/PointNavigation-v0"
SMALL = {"tasks": 3, "episodes": 3, "horizon": 8, "hidden": (8,), "action_scale": 0.1}


@pytest.fixture
def model():
    return metarl.MAML(ENV, outer=metarl.TRPO(max_kl=0.02), inner_lr=0.5, seed=0, **SMALL).learn(iterations=2)


def test_settings_find_their_places(model):
    config = model.config
    assert (config.tasks, config.method.inner_lr, config.method.outer.max_kl) == (3, 0.5, 0.02)
    assert metarl.FOMAML(ENV, max_kl=0.5, **SMALL).config.method.first_order
    assert metarl.FOMAML(ENV, max_kl=0.5, **SMALL).config.method.outer.max_kl == 0.5


def test_learning_goes_on_where_it_stopped(model):
    model.learn(iterations=1)
    once = metarl.MAML(ENV, max_kl=0.02, inner_lr=0.5, **SMALL).learn(iterations=3)
    assert all(torch.equal(model.trainer.params[n], once.trainer.params[n]) for n in once.trainer.params)


def test_a_saved_model_is_the_same_model(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = metarl.load(tmp_path / "model")
    assert type(loaded) is metarl.MAML
    assert loaded.config == model.config
    a, b = (metarl.adaptation_curve(m, steps=1, tasks=2, episodes=2) for m in (model, loaded))
    assert np.array_equal(a.per_task, b.per_task)
    loaded.learn(1)
    model.learn(1)
    assert all(torch.equal(model.trainer.params[n], loaded.trainer.params[n]) for n in loaded.trainer.params)


def test_a_curve_tells_of_which_tasks_it_is(model):
    curve = metarl.adaptation_curve(model, steps=1, tasks=3, episodes=2, seed=4)
    drawn = draw_tasks(model.trainer.inner_loop, 3, 4, TEST)
    assert np.array_equal(curve.tasks, drawn) and json.loads(json.dumps(curve.as_dict()))["tasks"] == drawn.tolist()
    again = metarl.adaptation_curve(model, steps=1, tasks=curve.as_dict()["tasks"], episodes=2, seed=4)
    assert np.allclose(again.per_task, curve.per_task)
    both = metarl.AdaptationCurve.joined([curve, again])
    assert np.array_equal(both.tasks, [*drawn, *drawn])
    older = dataclasses.replace(again, tasks=None)
    assert metarl.AdaptationCurve.joined([curve, older]).tasks is None and "tasks" not in older.as_dict()
    long = dataclasses.replace(curve, tasks=np.zeros((3, 101)))  # a whole MDP, say
    assert "tasks" not in long.as_dict()
    solved = dataclasses.replace(curve, success=np.zeros((3, 2))).as_dict()
    assert "tasks" in solved and "tasks" not in solved["success"]  # once is enough


def test_a_run_directory_loads_its_best_checkpoint(tmp_path):
    model = metarl.FOMAML(ENV, log_dir=tmp_path / "run", eval_every=1, eval_tasks=2, eval_episodes=2, **SMALL).learn(2)
    loaded = metarl.load(tmp_path / "run")
    assert type(loaded) is metarl.FOMAML
    assert loaded.trainer.progress.best_return == model.trainer.progress.best_return
    with pytest.raises(UserError, match="already holds a run"):
        metarl.MAML(ENV, log_dir=tmp_path / "run", **SMALL)


def test_an_adapted_policy_predicts_as_stable_baselines3_expects(model):
    before = {n: v.clone() for n, v in model.trainer.params.items()}
    policy = model.adapt(np.array([0.3, -0.2]))
    assert all(torch.equal(before[n], model.trainer.params[n]) for n in before)
    assert not torch.equal(policy.params["log_std"], before["log_std"])
    action, state = policy.predict(np.zeros(2), deterministic=True)
    assert action.shape == (2,) and action.dtype == np.float32 and state is None
    again, _ = policy.predict(np.zeros((5, 2)), deterministic=True)
    assert again.shape == (5, 2)
    assert np.allclose(again, action)

    single = gymnasium.make(ENV, task=np.array([0.3, -0.2]), max_episode_steps=8)
    mean, _ = evaluate_policy(policy, DummyVecEnv([lambda: single]), n_eval_episodes=3, warn=False)
    assert -8 < mean < 0


def test_adapting_to_a_task_is_what_the_curve_measures(model):
    """Playing the adapted policy gives the return the adaptation curve shows, within noise."""
    curve = metarl.adaptation_curve(model, steps=1, tasks=1, episodes=200, seed=3)
    task = draw_tasks(model.trainer.inner_loop, 1, 3, TEST)
    policy = model.adapt(task[0], episodes=200, seed=11)
    single = gymnasium.make(ENV, task=task[0], max_episode_steps=8)
    mean, _ = evaluate_policy(policy, DummyVecEnv([lambda: single]), 200, deterministic=False, warn=False)
    assert mean == pytest.approx(curve.mean[1], abs=0.15)


def test_nobody_is_judged_by_the_tasks_a_run_chooses_its_best_by(model):
    inner_loop = model.trainer.inner_loop
    drawn = [draw_tasks(inner_loop, 40, 0, stream) for stream in (TEST, VALIDATION, TRAINING)]
    assert len(np.unique(np.concatenate(drawn), axis=0)) == 120
    config = dataclasses.replace(model.config, eval_tasks=4, eval_episodes=3, eval_steps=1)
    own = Trainer(config).evaluate()
    public = metarl.adaptation_curve(metarl.MAML(ENV, **SMALL), steps=1, tasks=4, episodes=3, seed=config.seed)
    assert not np.intersect1d(own.per_task, public.per_task).size


def test_steps_beyond_those_trained_are_smaller_wherever_they_are_taken(model):
    halved, whole = (
        metarl.MAML(ENV, inner_lr=0.5, later_lr=later, **SMALL).adapt([0.3, -0.2], steps=2) for later in (0.5, 1.0)
    )
    once = metarl.MAML(ENV, inner_lr=0.5, **SMALL).adapt([0.3, -0.2], steps=1)
    for name, value in once.params.items():
        torch.testing.assert_close(2 * (halved.params[name] - value), whole.params[name] - value, rtol=1e-3, atol=1e-6)
    assert not torch.equal(halved.params["log_std"], whole.params["log_std"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner_lrr": 0.1}, "unknown setting 'inner_lrr'; did you mean 'inner_lr'"),
        ({"tasks": 0}, "tasks must be at least 1"),
        ({"inner_steps": 0}, "inner_steps must be at least 1"),
        ({"inner_loss": "ratio"}, "unknown inner loss 'ratio'; there are likelihood-ratio"),
        ({"discount": 1.5}, "discount must lie between 0 and 1"),
        ({"env_options": {"num_envs": 3}}, "env_options cannot set num_envs"),
        ({"outer": metarl.TRPO}, r"outer takes an outer update such as TRPO\(\), got <class"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        metarl.MAML(ENV, **settings)


def test_settings_that_a_method_cannot_have():
    with pytest.raises(UserError, match="ProMP needs an inner loss whose second derivative"):
        metarl.ProMP(ENV, inner_loss="log-likelihood")
    with pytest.raises(UserError, match="rl2 adapts its memory and has no inner loss, got dice"):
        metarl.RL2(ENV, inner_loss="dice")
    with pytest.raises(UserError, match="E-MAML needs at least 2 tasks"):
        metarl.EMAML(ENV, tasks=1)
    with pytest.raises(
        UserError, match=r"<lambda> cannot be called so \(got an unexpected keyword argument 'goal_range'"
    ):
        metarl.MAML(lambda: gymnasium.make(ENV), env_options={"goal_range": 0.1})


def test_true_and_false_reach_the_environment():
    def terms(sparse):
        options = {"sparse": sparse}
        return metarl.MAML(
            "metarl/SparseNavigation-v0", env_options=options, **SMALL
        ).trainer.inner_loop.sampler.env.family

    assert terms(False).sparse is False and terms(True).sparse is True
    chosen = parse_train("x", ["--env-options", "sparse", "False", "arms", "3"], Train(Config(env=ENV)))
    assert chosen.config.env_options == {"sparse": False, "arms": 3}


def test_bad_numbers_are_refused(model):
    with pytest.raises(UserError, match="iterations must be at least 1, got 0"):
        model.learn(iterations=0)
    for later_lr in (-50.0, float("nan"), "x"):
        with pytest.raises(UserError, match="later_lr must be"):
            metarl.adaptation_curve(model, later_lr=later_lr)
    with pytest.raises(UserError, match="outside its task space"):
        model.adapt(np.array([3.0, 0.0]))
    with pytest.raises(UserError, match="tasks must be at least 1"):
        metarl.adaptation_curve(model, tasks=0)
    with pytest.raises(UserError, match="steps=3 need a task to adapt to"):
        model.export_sb3("ppo.zip", steps=3)
    with pytest.raises(UserError, match="of one task"):
        model.export_sb3("ppo.zip", task=[[0.1, 0.1], [0.2, 0.2]])


def test_a_method_of_ours_is_not_given_again(model, tmp_path):
    model.save(tmp_path / "model")
    with pytest.raises(UserError, match="holds maml, a method of ours"):
        metarl.load(tmp_path / "model", method=metarl.methods.RL2)


@pytest.mark.filterwarnings("ignore:this policy's memory is not told")  # it is only asked
@pytest.mark.parametrize("method", [metarl.MAML, metarl.RL2])
def test_many_tasks_adapt_together(method):
    tasks = np.array([[0.3, -0.2], [-0.4, 0.1], [0.0, 0.5]])
    model = method(ENV, **SMALL)
    policies = model.adapt(tasks, seed=2)
    alone, obs = model.adapt(tasks[0], seed=2), np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    together, _ = policies.predict(obs, deterministic=True)
    assert len(policies) == 3 and together.shape == (6, 2)
    assert all(torch.equal(value, policies[0].params[name]) for name, value in alone.params.items())
    np.testing.assert_array_equal(*(p.predict(obs[:2], deterministic=True)[0] for p in (alone, policies[0])))
    for k, policy in enumerate(policies):
        rows = slice(2 * k, 2 * k + 2)
        np.testing.assert_allclose(policy.predict(obs[rows], deterministic=True)[0], together[rows], atol=1e-6)
    assert not np.allclose(policies.predict(np.tile(obs[:1], (3, 1)), deterministic=True)[0].std(0), 0)  # they differ
    assert policies.predict(obs)[0].shape == (6, 2)
    with pytest.raises(metarl.UserError, match="each of 3 tasks, got an array"):
        policies.predict(obs[:4])
    with pytest.raises(metarl.UserError, match=r"n of 1 or more, got shape \[0, 2\]"):
        model.adapt(np.zeros((0, 2)))
    model.close()


@pytest.mark.parametrize("name", MODELS)
def test_a_setting_of_the_method_leaves_network_and_tasks_as_they_are(name):
    usual = MODELS[name](ENV)
    settings = {"reptile": "step_size"} | dict.fromkeys(("maml", "fomaml", "anil", "meta-sgd", "e-maml"), "max_kl")
    setting = {settings.get(name, "outer_lr"): 0.5}
    other = MODELS[name](ENV, **setting)
    assert other.config != usual.config
    assert dataclasses.replace(other.config, method=usual.config.method) == usual.config


def test_a_memory_adapts_by_one_lifetime():
    model = metarl.RL2(ENV, **SMALL)
    one, more = (model.adapt([0.1, 0.2], episodes=n) for n in (1, 6))
    assert torch.equal(one.memory.state, more.memory.state)
    model.close()


def test_no_step_is_taken_twice(monkeypatch):
    steps, taken = [], PolicyInnerLoop.step
    monkeypatch.setattr(PolicyInnerLoop, "step", lambda *args: steps.append(args[3]) or taken(*args))
    model = metarl.MAML(ENV, **SMALL)
    model.adapt([0.1, 0.2], steps=4)
    assert steps == [0, 1, 2, 3]
    before = model.adapt([0.1, 0.2], steps=0)
    assert all(torch.equal(value, before.params[name]) for name, value in model.policy.params.items())
    model.close()


def test_policies_adapted_together_draw_their_own_noise():
    model = metarl.MAML(ENV, **SMALL)
    first, second = (policy.predict(np.zeros(2))[0] for policy in model.adapt([[0.1, 0.2], [0.1, 0.2]], steps=0))
    assert not np.array_equal(first, second)
    model.close()


def test_a_checkpoint_without_what_the_outer_update_remembers_is_gone_on_from():
    model = metarl.ProMP(ENV, **SMALL)
    model.trainer.restore(dataclasses.replace(model.trainer.snapshot(), outer={}))
    assert model.learn(1).trainer.progress.iteration == 1
    model.close()


def test_a_loss_that_adaptation_makes_smaller_is_a_gain():
    metrics = metarl.FewShot("sinusoid", tasks=4, inner_lr=0.01).trainer.iterate()
    assert metrics["meta/adaptation_gain"] == metrics["meta/loss_step0"] - metrics["meta/loss_step1"] > 0


def test_a_memory_takes_the_rewards_that_environments_give(tmp_path):
    model = metarl.RL2(ENV, tasks=2, episodes=1, lifetime=2, horizon=4, hidden=(4,))
    policies = [model.adapt([0.3, -0.2]) for _ in range(2)]
    for policy, reward in zip(policies, (0.5, np.float64(0.5)), strict=True):
        policy.predict(np.zeros(2))
        policy.see(reward)
    actions = [policy.predict(np.ones(2), deterministic=True)[0] for policy in policies]
    assert np.array_equal(*actions)
    model.close()


def test_settings_of_numbers_say_that_choices_do_not_heed_them():
    with pytest.warns(UserWarning, match=r"without effect, as actions are Discrete\(5\), not a Box: action_scale=0\.1"):
        metarl.MAML("metarl/Bandit-v0", **SMALL).close()


def test_settings_of_another_network_are_refused():
    with pytest.raises(metarl.UserError, match=r"ways=3 is for classification, sinusoid is regression; give ways 5"):
        metarl.FewShot("sinusoid", ways=3)
    with pytest.raises(metarl.UserError, match=r"hidden=\(8,\) is for network mlp, got conv"):
        metarl.from_preset("glyphs-5way-1shot", hidden=(8,))
