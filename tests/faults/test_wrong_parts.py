"""Parts and arguments of a wrong kind: one line that names them, and nothing that is silently left unheard."""

import gymnasium
import numpy as np
import pytest
import torch
from own_envs import Corridor
from torch import nn

import metarl
from metarl import UserError
from metarl.cli import main

ENV = "metarl/PointNavigation-v0"
SIZES = {"tasks": 2, "episodes": 2, "horizon": 6, "eval_tasks": 2, "eval_episodes": 2}


class Net(nn.Module):
    def __init__(self, observations, actions, frozen=False):
        super().__init__()
        self.body, self.log_std = nn.Linear(observations.shape[0], actions.shape[0]), nn.Parameter(torch.zeros(1, 2))
        self.body.requires_grad_(not frozen)

    def forward(self, obs):
        return metarl.Gaussian(self.body(obs), self.log_std)


def own(observations, actions, generator):
    return Net(observations, actions)


def frozen(observations, actions, generator):
    return Net(observations, actions, frozen=True)


def nothing(*args):
    raise AssertionError("it is not for this method")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metarl.MAML(ENV, policy=frozen, **SIZES), "param 'body.weight' is frozen"),
        (
            lambda: metarl.MAML(ENV, policy=own, context=7, layer_norm=True, **SIZES),
            "context=7, layer_norm=True: for the built-in policy only, got .*; give context 0, layer_norm False",
        ),
        (
            lambda: metarl.RL2(ENV, baseline=nothing, **SIZES),
            "baseline must stay linear unless vf_coef is 0",
        ),
        (
            lambda: metarl.MAML(Corridor, processes=2, **SIZES),
            "processes=2 is for vectorization async, got sync; give vectorization async, or processes None",
        ),
        (lambda: metarl.VariBAD(ENV, baseline="network", **SIZES), "baseline must stay linear"),
        (lambda: metarl.ANIL(ENV, reward_coef=1.0, **SIZES), "moves the context, anil has none; give reward_coef 0"),
        (lambda: metarl.MAML(ENV, hidden=(8, None), **SIZES), r"hidden must be whole numbers such as \(64, 64\), got"),
        (lambda: metarl.MAML(ENV, hidden=(True,), **SIZES), r"whole numbers such as \(64, 64\), got \(True,\)"),
    ],
)
def test_what_would_not_be_heeded_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_an_environment_that_steps_all_rows_itself_needs_no_processes(capsys):
    what = f"without effect, as {ENV} has a vector environment of its own: vectorization=async"
    with pytest.warns(UserWarning, match=what):
        metarl.MAML(ENV, vectorization="async", processes=2, **SIZES).close()
    assert main(["train", "point-navigation", "--processes", "2"]) == 2
    assert "processes=2 is for vectorization async, got sync" in capsys.readouterr().err


class Far(Corridor):
    def sample_tasks(self, n, rng):
        return np.full((n, 1), 2.5)


class NoInfo(Corridor):
    def reset(self, **kwargs):
        return super().reset(**kwargs)[0]


class InfoIsNone(Corridor):
    def step(self, action):
        return (*super().step(action)[:4], None)


class Old(Corridor):
    """As Gym had it."""

    def step(self, action):
        return super().step(action)[:4]


class Fails(Corridor):
    def step(self, action):
        raise ValueError("of the user's own")


gymnasium.register("Old-v0", Old, max_episode_steps=8)
gymnasium.register("InfoIsNone-v0", InfoIsNone, max_episode_steps=8)


@pytest.mark.filterwarnings("ignore:.*old step API:DeprecationWarning")  # as Gymnasium says of it
@pytest.mark.parametrize("env", [Old, "Old-v0", "InfoIsNone-v0"])
def test_a_step_of_another_form_is_refused_in_a_line_before_any_wrapper_stumbles(env):
    model = metarl.MAML(env, **SIZES)
    with pytest.raises(UserError, match=r"at step 1: step must return observation, reward, .* with a dict as info"):
        model.learn(1)
    model.close()
    with pytest.raises(ValueError, match="of the user's own"):
        metarl.MAML(Fails, **SIZES).learn(1)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Far, r"task \[2.5\] is outside its task space Box\(-1.0, 1.0, \(1,\), float64\)"),
        (NoInfo, r"at step 0: reset must return observation, info, with a dict as info; got array"),
        (InfoIsNone, r"step must return .* with a dict as info; got \(array"),
    ],
)
@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_environments_that_return_something_else(env, message, vectorization, observe):
    processes = 1 if vectorization == "async" else None
    model = metarl.MAML(env, vectorization=vectorization, processes=processes, **SIZES)
    with pytest.raises(UserError, match=message) as found:
        model.learn(1)
    model.close()
    observe(f"{env.__name__}, {vectorization}", f"`{found.value}`")


def test_numbers_and_tasks_of_a_wrong_kind():
    model = metarl.MAML(ENV, **SIZES)
    task = [0.1, 0.2]
    for play, message in [
        (lambda: model.adapt(task, steps=1.5), "steps must be a whole number, got 1.5"),
        (lambda: model.adapt(task, episodes=1.5), "episodes must be a whole number, got 1.5"),
        (lambda: model.adapt(task, seed=None), "seed must be a whole number, got None"),
        (lambda: model.adapt([0.3]), r"a task is numbers of shape \(2,\), got \[0.3\]"),
        (lambda: metarl.adaptation_curve(model, steps=1.5), "steps must be a whole number, got 1.5"),
        (
            lambda: metarl.adaptation_curve(model, tasks=2.0),
            r"or numbers \[n, d\], got 2.0",
        ),
        (
            lambda: model.policy.predict([0.0]),
            r"observations of shape \[2\], .* got \[0.0\]",
        ),
        (lambda: model.policy.predict(np.zeros((0, 2))), "predict takes observations of shape"),
        (lambda: model.policy.predict(None), "got None"),
        (lambda: model.policy.predict("abc"), "which are numbers, got 'abc'"),
        (lambda: model.policy.predict([np.nan, 0.0]), "predict takes finite observations, got"),
    ]:
        with pytest.raises(UserError, match=message):
            play()
    model.close()


def test_one_callback_is_as_good_as_a_list():
    seen = []

    class Mine(metarl.Callback):
        def on_iteration(self, trainer, metrics):
            seen.append(trainer.progress.iteration)

    model = metarl.MAML(ENV, **SIZES)
    model.learn(1, callbacks=Mine()).learn(1, callbacks=None)
    assert seen == [1]
    model.close()


def test_tasks_at_the_rounded_bounds_of_a_space_are_inside():
    class Rounded(Corridor):
        task_space = gymnasium.spaces.Box(0.1, 0.3, (1,), np.float32)

        def sample_tasks(self, n, rng):
            return np.array([[0.1], [0.3]])[np.arange(n) % 2]

    metarl.MAML(Rounded, **SIZES).learn(1).close()


def test_several_seeds_do_not_go_into_a_run(tmp_path, capsys):
    run = tmp_path / "run"
    sizes = "--tasks 2 --episodes 2 --horizon 6 --iterations 1 --eval-tasks 2 --eval-episodes 2".split()
    assert main(["train", "point-navigation", *sizes, "--log-dir", str(run)]) == 0
    capsys.readouterr()
    for more in ([], ["--resume"]):
        assert main(["train", "point-navigation", *sizes, "--seeds", "2", "--log-dir", str(run), *more]) == 2
        assert "holds a run itself; choose another --log-dir" in capsys.readouterr().err
    assert not list(run.glob("seed-*"))
    assert main(["eval", str(run), "--json", str(tmp_path / "x"), "--figure", str(tmp_path / "x")]) == 2
    assert "--json and --figure are both" in capsys.readouterr().err
