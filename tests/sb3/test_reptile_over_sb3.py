"""Reptile over stable-baselines3: the exact update, learning faster than from scratch, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.testing import assert_close
from walks import Ahead, AheadInSteps, Ends, Halfway

import metarl
from metarl import UserError
from metarl.cli.main import main
from metarl.errors import NotFinite
from metarl.sb3 import Reptile
from metarl.sb3 import reptile as reptile_over_sb3
from metarl.seeding import TEST, TRAINING, draw_tasks

SMALL = {"horizon": 10, "k": 32, "num_envs": 4, "policy_kwargs": {"net_arch": [8]}, "batch_size": 16}
POINT = "metarl/PointNavigation-v0"


def state(model):
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_short_episodes_weigh_no_more_than_long_ones_in_what_is_logged():
    """Episodes of 1 or of 9 steps, as their start has it: of those that end first most would be of 1."""
    reptile = Reptile(Ends, PPO, k=20 * 12, num_envs=20, horizon=10, n_steps=12, batch_size=60, seed=0)
    logged = np.mean([reptile.iterate()["meta/return_step0"] for _ in range(10)])
    assert logged == pytest.approx(5.0, abs=0.8)


@pytest.mark.parametrize("decay", [0, 4])
def test_the_update_is_that_of_the_paper(decay):
    """The stub ends at W = (θ + goal) / 2, so θ moves by ε (goal - θ) / 2 in each meta-iteration."""
    reptile = Reptile(Ahead, Halfway, epsilon=0.3, decay_iterations=decay, seed=7, **SMALL)
    expected = state(reptile.model)
    for i in range(3):
        goal = draw_tasks(Ahead(), 1, 7, TRAINING, i)[0, 0]
        epsilon = 0.3 * (1 - i / decay) if decay else 0.3
        expected = {name: value + epsilon * (goal - value) / 2 for name, value in expected.items()}
        metrics = reptile.iterate()
        assert_close(state(reptile.model), expected)
        assert metrics["train/outer_step_size"] == pytest.approx(epsilon)
    assert reptile.env_steps == 96
    reptile.close()


def test_with_epsilon_1_the_meta_params_are_the_outcome():
    reptile = Reptile(Ahead, SAC, epsilon=1, seed=1, **{**SMALL, "num_envs": 1, "learning_starts": 10, "k": 40})
    found = []
    start = reptile._start
    reptile._start = lambda *args: found.append(start(*args)) or found[-1]
    before = float(reptile.model.log_ent_coef.detach())
    reptile.learn(1)
    assert same(state(reptile.model), state(found[0]))  # critics and their targets too
    assert float(reptile.model.log_ent_coef.detach()) == float(found[0].log_ent_coef.detach()) != before
    assert found[0].replay_buffer.size() == 40 and reptile.model.replay_buffer.size() == 0
    assert not reptile.model.actor.optimizer.state
    reptile.close()


FAST = {"horizon": 10, "epsilon": 0.5, "learning_rate": 3e-3, "gamma": 0.9, "policy_kwargs": {"net_arch": [16]}}


@pytest.mark.parametrize(
    ("algorithm", "settings", "gain"),
    [
        (PPO, {"k": 320, "batch_size": 80, "decay_iterations": 15}, 0.8),
        (SAC, {"k": 100, "batch_size": 64, "learning_starts": 20, "ent_coef": 0.1, "decay_iterations": 12}, 0.0),
    ],
)
def test_it_adapts_faster_than_from_scratch(algorithm, settings, gain):
    reptile = Reptile(Ahead, algorithm, seed=0, **FAST, **settings)
    scratch = reptile.adaptation_curve(1, tasks=3, episodes=8, seed=5)
    reptile.learn(10)
    curve = reptile.adaptation_curve(1, tasks=3, episodes=8, seed=5)
    reptile.close()
    assert (curve.mean > scratch.mean + 4).all()
    assert curve.mean[1] > curve.mean[0] + gain
    assert curve.unit == f"x {settings['k']} environment steps" and curve.env == "Ahead"
    assert curve.env_steps == 3 * settings["k"] + 3 * 2 * 8 * 10


def test_the_file_is_the_algorithms_own_and_acts_the_same(tmp_path):
    reptile = Reptile(POINT, PPO, **SMALL).learn(2)
    reptile.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model.zip")
    obs = np.random.default_rng(0).normal(size=(20, 2))
    assert same(state(loaded), state(reptile.model))
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], reptile.model.predict(obs, deterministic=True)[0])
    reptile.close()


def test_dqn_runs_on_discrete_actions_and_on_a_class_of_the_users():
    for env, horizon in (("metarl/TabularMDP-v0", 10), (AheadInSteps, 6)):
        settings = {"horizon": horizon, "learning_starts": 8, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}}
        reptile = Reptile(env, DQN, k=40, **settings)
        before = state(reptile.model)
        reptile.learn(2)
        assert not same(before, state(reptile.model)) and reptile.env_steps == 80
        assert np.isfinite(reptile.adaptation_curve(1, tasks=2, episodes=2).per_task).all()
        reptile.close()


def test_a_seed_says_everything_and_evaluations_change_nothing():
    whole = Reptile(POINT, PPO, seed=3, **SMALL).learn(3)
    parts = Reptile(POINT, PPO, seed=3, **SMALL).learn(1)
    first = parts.adaptation_curve(1, tasks=2, episodes=2, seed=4)
    torch.manual_seed(99)
    assert np.array_equal(parts.adaptation_curve(1, tasks=2, episodes=2, seed=4).per_task, first.per_task)
    parts.learn(2)
    other = Reptile(POINT, PPO, seed=4, **SMALL).learn(3)
    assert same(state(whole.model), state(parts.model))
    assert not same(state(whole.model), state(other.model))
    for reptile in (whole, parts, other):
        reptile.close()


def test_the_curve_is_of_the_held_out_tasks_that_metarl_draws():
    seen = []

    class Watched(Ahead):
        def set_task(self, task):
            seen.append(tuple(task))

    reptile = Reptile(Watched, Halfway, **SMALL)
    Watched.step = lambda self, action: (np.zeros(1, np.float32), 0.0, False, False, {})
    reptile.adaptation_curve(1, tasks=3, episodes=1, seed=9)
    assert list(dict.fromkeys(seen)) == [tuple(task) for task in draw_tasks(Ahead(), 3, 9, TEST)]
    reptile.close()


def test_an_adapted_model_goes_on_in_its_task():
    reptile = Reptile(Ahead, Halfway, **SMALL)
    before = state(reptile.model)
    models = [reptile.adapt([goal]) for goal in (1.0, 3.0)]
    for model, goal in zip(models, (1.0, 3.0), strict=True):
        assert_close(state(model), {name: (value + goal) / 2 for name, value in before.items()})
        model.learn(32)
        assert_close(state(model), {name: (value + 3 * goal) / 4 for name, value in before.items()})
        model.get_env().close()
    untouched = reptile.adapt([2.0], steps=0)
    assert same(before, state(untouched)) and same(before, state(reptile.model))
    untouched.get_env().close()
    with pytest.raises(UserError, match="outside its task space"):
        reptile.adapt([7.0])
    reptile.close()


def test_callbacks_are_called_and_may_stop():
    class Stop:
        said = ()

        def on_start(self, reptile):
            self.said += ("start",)

        def on_iteration(self, reptile, metrics):
            self.said += (metrics["time/iterations"],)
            return metrics["time/iterations"] < 2

        def on_end(self, reptile):
            self.said += ("end",)

    reptile, stop = Reptile(POINT, PPO, **SMALL), Stop()
    reptile.learn(9, callbacks=[stop])
    assert stop.said == ("start", 1, 2, "end") and reptile.iteration == 2
    reptile.close()


def test_a_param_that_is_not_finite_stops_it_before_the_meta_params():
    reptile = Reptile(Ahead, type("Broken", (Halfway,), {"fault": float("nan")}), **SMALL)
    before = state(reptile.model)
    with pytest.raises(NotFinite, match="Broken learned a param that is not finite in task"):
        reptile.learn(1)
    assert same(before, state(reptile.model)) and reptile.iteration == 0
    reptile.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "ppo"}, "algorithm takes a class of stable-baselines3 such as PPO, SAC or DQN, got 'ppo'"),
        ({"algorithm": BaseAlgorithm}, "algorithm takes a class"),
        ({"algorithm": DQN}, "DQN cannot learn in metarl/PointNavigation-v0: .* only supports .Discrete,. as action"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": 32.0}, "k must be a whole number, got 32.0"),
        ({"k": 30}, "k must be a multiple of num_envs = 4, got 30, the nearest is 32"),
        ({"k": 32}, "k must be a multiple of num_envs x n_steps = 4 x 16 = 64, .* got 32, the nearest is 64"),
        ({"epsilon": 0}, r"epsilon must be a number in \(0, 1\], got 0"),
        ({"epsilon": 1.1}, "epsilon must be a number"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"lerning_rate": 1.0}, "PPO has no setting 'lerning_rate'; did you mean 'learning_rate'"),
        ({"env_options": {"goal": 1}}, "goal"),
        ({"env": "metarl/PointNavigatio-v0"}, "did you mean 'metarl/PointNavigation-v0'"),
        ({"env": object()}, "env takes an id, a class or a function"),
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"horizon": "5"}, "horizon must be a whole number, got '5'"),
        ({"vectorization": "sink"}, "unknown vectorization .sink.; did you mean .sync."),
        ({"env_options": {"num_envs": 1}}, "env_options are the environment's own, not num_envs"),
        ({"policy_kwargs": 1}, "policy_kwargs must be a dict, got 1"),
    ],
)
def test_bad_input_is_one_line(change, message):
    with pytest.raises(UserError, match=message) as caught:
        Reptile(**{"env": POINT, "algorithm": PPO, **SMALL, "n_steps": 16, "k": 64, **change})
    assert "\n" not in str(caught.value)


def test_rollouts_are_suited_to_k():
    for k, given, steps, batch in ((48, {}, 12, 48), (2000, {}, 500, 50), (48, {"n_steps": 6}, 6, 24)):
        reptile = Reptile(POINT, PPO, k=k, num_envs=4, **given)
        assert (reptile.model.n_steps, reptile.model.batch_size) == (steps, batch)
        reptile.close()


def test_the_package_is_light_until_it_is_used():
    said = "import sys, metarl.sb3; print('stable_baselines3' in sys.modules, 'Reptile' in dir(metarl.sb3))"
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, text=True).stdout == "False True\n"


def test_the_command(tmp_path, capsys):
    out, curve = tmp_path / "m.zip", tmp_path / "curve.json"
    size = ["--k", "40", "--iterations", "2", "--tasks", "2", "--episodes", "2", "--steps", "1", "--horizon", "10"]
    files = ["--out", str(out), "--json", str(curve), "--log-dir", str(tmp_path / "logs")]
    settings = ["--settings", "learning_starts=8", "policy_kwargs={'net_arch': [8]}"]
    assert main(["sb3", POINT, "--algorithm", "sac", *size, *files, *settings]) == 0
    said = capsys.readouterr().out
    assert "iteration 2/2  steps 80  return" in said and "x 40 environment steps" in said
    assert SAC.load(out).policy_kwargs["net_arch"] == [8] and '"unit": "x 40 environment steps"' in curve.read_text()
    assert len((tmp_path / "logs" / "progress.csv").read_text().splitlines()) == 3
    for arguments, message in [
        ([], "sb3 needs an environment or a preset first"),
        (["sinusoid"], "learns in environments; sinusoid is of"),
        ([POINT, "--algorithm", "sad"], "unknown algorithm 'sad'; did you mean 'sac'"),
        ([POINT, "--settings", "gamma"], "--settings takes pairs such as learning_rate=1e-3, got 'gamma'"),
        ([POINT, "--out", "nowhere/m.zip"], "nowhere' is no folder"),
        ([POINT, "--log-dir", str(tmp_path / "logs")], "holds a run's"),
        ([POINT, "--epsilon", "2"], "epsilon must be a number in (0, 1], got 2.0"),
    ]:
        assert main(["sb3", *arguments]) == 2
        wrong = capsys.readouterr().err
        assert message in wrong and wrong.count("\n") == 1
    assert len((tmp_path / "logs" / "progress.csv").read_text().splitlines()) == 3  # still


@pytest.mark.parametrize("algorithm", ["sac", "ppo"])
def test_the_command_goes_on_as_if_it_had_never_stopped(algorithm, tmp_path, capsys):
    own = {"sac": ["learning_starts=8", "policy_kwargs={'net_arch': [8]}"], "ppo": ["policy_kwargs={'net_arch': [8]}"]}
    command = ["sb3", POINT, "--algorithm", algorithm, "--k", "32", "--tasks", "0", "--horizon", "8", "--num-envs", "2"]
    command += ["--settings", *own[algorithm]]
    assert main([*command, "--iterations", "3", "--out", "whole.zip"]) == 0
    for iterations in ("1", "3"):
        stopped = ["--iterations", iterations, "--out", "stopped.zip", "--log-dir", "logs", "--resume"]
        assert main([*command, *stopped]) == 0
    kind = {"sac": SAC, "ppo": PPO}[algorithm]
    assert same(state(kind.load("whole.zip")), state(kind.load("stopped.zip")))
    assert len((tmp_path / "logs" / "progress.csv").read_text().splitlines()) == 4
    capsys.readouterr()
    assert main([*command, *stopped]) == 0
    assert "nothing left to do: 3 meta-iterations are done" in capsys.readouterr().out
    assert main([*command, *stopped, "--epsilon", "0.5"]) == 2
    said = capsys.readouterr().err
    assert "its options differ: epsilon: 0.25 -> 0.5" in said and said.count("\n") == 1


def test_metarl_itself_has_its_own_reptile():
    assert metarl.Reptile is not Reptile and metarl.sb3.SB3VecEnv is metarl.SB3VecEnv


@pytest.mark.parametrize("algorithm", [DQN, PPO])
def test_how_an_adapted_algorithm_is_measured_does_not_change_what_it_learns(algorithm, monkeypatch):
    settings = {"horizon": 6, "policy_kwargs": {"net_arch": [8]}, "batch_size": 8}
    settings |= {"learning_starts": 8} if algorithm is DQN else {}
    learned = []
    play = reptile_over_sb3.first_episodes

    def noted(model, *how):
        learned.append(state(model))
        return play(model, *how)

    monkeypatch.setattr(reptile_over_sb3, "first_episodes", noted)
    for number in (1, 3):
        Reptile(AheadInSteps, algorithm, k=40, **settings).adaptation_curve(2, tasks=1, episodes=number)
    assert all(same(a, b) for a, b in zip(learned[:3], learned[3:], strict=True)) and len(learned) == 6


class Counted(AheadInSteps):
    """Its actions begin at 2."""

    action_space = spaces.Discrete(2, start=2)

    def step(self, action):
        assert self.action_space.contains(action)
        return super().step(int(action) - 2)


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_actions_are_those_of_the_environment_wherever_they_begin(algorithm):
    settings = {"learning_starts": 4} if algorithm is DQN else {}
    Reptile(Counted, algorithm, k=40, horizon=5, **settings).learn(1).close()


@pytest.mark.parametrize("task", [[0.5, 7.0], [], "abc", [[1.5]]])
def test_a_task_that_is_none_is_refused(task):
    reptile = Reptile(Ahead, PPO, k=40, horizon=5)
    with pytest.raises(UserError, match=r"a task is numbers \["):
        reptile.adapt(task)
    reptile.close()


def test_what_is_no_callback_is_refused_and_one_or_numpys_false_will_do():
    class Stop:
        def on_iteration(self, reptile, metrics):
            return np.bool_(False)

    reptile = Reptile(Ahead, PPO, k=40, horizon=5)
    for wrong in (5, print, Stop):
        with pytest.raises(UserError, match="is no callback"):
            reptile.learn(1, [wrong])

    class Short:
        def on_end(self):
            raise AssertionError("it is refused before anything is trained")

    with pytest.raises(UserError, match=r"a callback's on_end is called with \(reptile\), got .*Short.on_end\(\)"):
        reptile.learn(1, Short())
    assert reptile.iteration == 0
    assert reptile.learn(3, Stop()).iteration == 1
    reptile.close()


def test_the_command_does_not_replace_a_file_of_a_run(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    out = tmp_path / "best.safetensors"
    assert main(["sb3", "point-navigation", "--iterations", "1", "--out", str(out)]) == 2
    assert "is a file of the run" in capsys.readouterr().err and not out.exists()
