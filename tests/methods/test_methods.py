"""Every method through the training loop, the command line and the Python API."""

import dataclasses
from contextlib import closing

import gymnasium
import pytest
import torch
from own_envs import Corridor

import metarl
from metarl import UserError
from metarl.cli import main
from metarl.experiment.config import Config
from metarl.experiment.directory import RunDirectory
from metarl.experiment.presets import find_preset
from metarl.experiment.run import resume, train
from metarl.experiment.settings import with_method
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML, METHODS, ProMP, Reptile, method_name
from metarl.models.methods import MODELS
from metarl.outer import OUTERS
from metarl.seeding import TEST, draw_tasks, task_rngs

SIZES = {"tasks": 3, "episodes": 3, "horizon": 8, "hidden": (8,)}
SMALL = SIZES | {"eval_tasks": 2, "eval_episodes": 2, "eval_every": 9, "eval_steps": 1}
ENV = "metarl/PointNavigation-v0"
VARIANTS = {
    **{name: method for name, method in METHODS.items()},
    "reptile-adam-adam": Reptile(inner_optimizer="adam", inner_lr=0.01, outer=metarl.Adam()),
    "reptile-decay": Reptile(outer=dataclasses.replace(METHODS["reptile"].outer, decay_iterations=5)),
    "promp-adaptive": ProMP(inner_kl_target=0.01),
    "maml-adam": MAML(outer=metarl.Adam(), inner_steps=2),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_resumed_run_is_the_same_to_the_bit(name, tmp_path):
    config = Config(ENV, method=VARIANTS[name], action_scale=0.1, iterations=3, **SMALL)
    directory = RunDirectory(tmp_path / "run")
    directory.create(config)
    train(Trainer(config), 1, directory)
    again = Trainer(directory.config())
    resume(again, directory)
    train(again, 3, directory)
    once = Trainer(config)
    start = {n: value.clone() for n, value in once.params.items()}
    train(once, 3)
    assert again.params.keys() == once.params.keys() == start.keys()
    assert all(torch.equal(again.params[n], once.params[n]) for n in once.params)
    assert all(torch.equal(again.outer_state[n], once.outer_state[n]) for n in once.outer_state)
    assert any(not torch.equal(start[n], once.params[n]) for n in start)


@pytest.mark.parametrize("name", METHODS)
def test_a_saved_model_comes_back_as_its_class(name, tmp_path):
    kind = MODELS[name]
    model = kind(ENV, action_scale=0.1, **SMALL).learn(1)
    model.save(tmp_path / "model")
    loaded = metarl.load(tmp_path / "model")
    assert type(loaded) is kind
    assert loaded.config == model.config
    assert method_name(loaded.config.method) == name
    adapted = model.adapt([0.3, -0.2], steps=1)
    action, _ = adapted.predict(torch.zeros(2).numpy(), deterministic=True)
    assert action.shape == (2,)


def test_the_best_state_of_adam_is_restored_too():
    config = Config(ENV, method=METHODS["promp"], **SMALL)
    trainer = Trainer(config)
    train(trainer, 2)
    other = Trainer(config)
    other.restore(trainer.snapshot())
    assert float(other.outer_state["t"]) == 10  # 5 epochs each


def said(capsys, *args):
    """The exit status of the command line and what it said on standard error."""
    status = main(list(args))
    return status, capsys.readouterr().err


def test_the_command_line_trains_a_method_with_its_own_settings(tmp_path, capsys):
    small = "--tasks 3 --episodes 3 --horizon 8 --eval-tasks 2 --eval-episodes 2 --iterations 1".split()
    own = ["--method=promp", "--inner-kl", "0.25", "--clip", "0.2", "--inner-kl-target", "0.01"]
    assert main(["train", "point-navigation", *own, *small, "--log-dir", str(tmp_path / "run")]) == 0
    method = RunDirectory(tmp_path / "run").config().method
    assert method == ProMP(
        inner_lr=0.5, inner_kl=0.25, inner_kl_target=0.01, outer=dataclasses.replace(method.outer, clip=0.2)
    )
    again = ["train", "point-navigation", "--log-dir", str(tmp_path / "run"), "--resume", "--iterations"]
    assert main([*again, "2"]) == 0  # the method is the run's
    assert main([*again, "3", "--method", "promp"]) == 0  # and so are its settings
    capsys.readouterr()


def test_another_outer_update_can_be_chosen(tmp_path, capsys):
    small = "--tasks 3 --episodes 3 --horizon 8 --eval-tasks 2 --eval-episodes 2 --iterations 1".split()
    own = "--method reptile --outer adam --outer-lr 0.01 --inner-optimizer adam".split()
    assert main(["train", "point-navigation", *own, *small, "--log-dir", str(tmp_path / "run")]) == 0
    assert RunDirectory(tmp_path / "run").config().method.outer == metarl.Adam(outer_lr=0.01)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--method reptil", "unknown method 'reptil'; did you mean 'reptile'?"),
        ("--method", "unknown method"),
        ("--outer adm", "unknown outer 'adm'; did you mean 'adam'?"),
        ("--method fomaml --no-first-order", "contradict the method fomaml: together they are maml"),
        ("--method maml --outer ppo", "contradict the method maml: together they are ppo-maml"),
        ("--method promp --first-order", "first_order contradicts ProMP"),
        ("--method promp --outer trpo", "outer update is PPO, got TRPO"),
        ("--method reptile --outer trpo", "Interpolation or Adam, got TRPO"),
        ("--method anil --inner-steps 0", "inner_steps must be at least 1, got 0"),
        ("--method reptile --first-order", "unknown option '--first-order'"),
        ("--method maml --inner-optimizer adam", "unknown option '--inner-optimizer'"),
        ("--method promp --cg-iterations 9", "unknown option '--cg-iterations'; --outer trpo has it, ppo has not; "),
        ("--lr-half-life 3", "unknown option '--lr-half-life'; --outer ppo, adam have it, trpo has not; "),
        ("--method rl2 --inner-lr 1", "unknown option '--inner-lr'; --method maml, fomaml, "),
        ("--method rl2 --memory lstn", "invalid choice 'lstn' for argument '--memory'"),
        ("--seed -1", "seed must be at least 0, got -1"),
        ("--method e-maml --exploration -1", "exploration must be 0 or more and finite, got -1"),
        ("--method e-maml --outer ppo --minibatches 2", "minibatches must be 1"),
        ("--method promp --inner-kl nan", "inner_kl must be 0 or more and finite, got nan"),
    ],
)
def test_mistakes_are_one_clear_line_and_status_2(options, words, capsys, tmp_path):
    status, err = said(capsys, "train", "point-navigation", *options.split(), "--log-dir", str(tmp_path / "run"))
    assert status == 2
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "episodes"), [("", 2), ("--lifetime 10", 1), ("--lifetime 10 --episodes 8", 8), ("--episodes=3", 3)]
)
def test_lifetimes_are_few_unless_typed(options, episodes, tmp_path, capsys):
    few = "--tasks 20 --horizon 2 --eval-tasks 1 --eval-episodes 1 --iterations 1".split()
    run = tmp_path / "run"
    assert main(["train", "point-navigation", "--method", "rl2", *options.split(), *few, "--log-dir", str(run)]) == 0
    assert RunDirectory(run).config().episodes == episodes
    capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "tasks", "lifetimes"),
    [
        ("bandit", 40, 8),
        ("half-cheetah-dir", 8, 2),
        ("half-cheetah-vel", 8, 2),
        ("point-navigation", 8, 2),
        ("ml1-reach", 8, 2),
    ],
)
def test_a_memory_has_small_meta_iterations_and_as_many_environment_steps(name, tasks, lifetimes):
    preset = find_preset(name)
    config = with_method(preset, "rl2")
    assert (config.tasks, config.episodes) == (tasks, lifetimes)
    played = preset.tasks * (preset.episodes * 2 // 5) * 5  # support and query data
    assert config.tasks * config.episodes * 5 * config.iterations == pytest.approx(played * preset.iterations, rel=0.01)
    evaluations = preset.iterations // preset.eval_every, config.iterations // config.eval_every
    assert evaluations[0] == evaluations[1]


@pytest.mark.parametrize(
    ("name", "lifetime", "ent_coef", "steps"), [("ant-crippled", 2, 0.0, 3200), ("grid-navigation", 4, 0.01, None)]
)
def test_a_memory_after_another_has_its_own_lifetime_unless_the_other_was_given_one(name, lifetime, ent_coef, steps):
    preset = find_preset(name)
    config = with_method(preset, "varibad")
    assert (config.method.lifetime, config.method.ent_coef) == (lifetime, ent_coef)
    played = [c.tasks * c.episodes * c.method.lifetime for c in (preset, config)]
    assert steps is None or played[1] * config.horizon == steps
    assert played[1] * config.iterations == pytest.approx(played[0] * preset.iterations, rel=0.01)


def test_a_belief_has_a_layer_of_its_own_which_goes_with_it():
    preset = dataclasses.replace(find_preset("ant-crippled"), hidden=(32, 16))
    believing = with_method(preset, "varibad")
    assert believing.hidden == (32, 32, 16)
    assert with_method(believing, "varibad").hidden == (32, 32, 16)
    assert [with_method(believing, name).hidden for name in ("maml", "rl2", "promp")] == [(32, 16)] * 3
    narrow = dataclasses.replace(believing, hidden=(32,))
    assert with_method(narrow, "maml").hidden == (32,)


def test_lifetimes_hold_as_many_episodes_as_other_methods_play_where_their_length_is_unknown():
    config = with_method(Config("own_env:Own-v0", episodes=20, gae_lambda=1.0), "rl2")
    assert (config.tasks, config.episodes, config.gae_lambda) == (20, 8, 0.95)


def test_a_memory_has_small_meta_iterations_in_an_environment_that_the_user_has_registered(monkeypatch, tmp_path):
    """Whether the module has been imported before, or not."""
    monkeypatch.syspath_prepend(tmp_path)
    words = "import gymnasium\ngymnasium.register('FewSteps-v0', 'few_steps:Few', max_episode_steps=100)\n"
    (tmp_path / "few_steps.py").write_text(words)
    for _ in range(2):
        config = with_method(Config("few_steps:FewSteps-v0", episodes=20, iterations=100), "rl2")
        assert (config.tasks, config.episodes, config.iterations) == (8, 2, 1000)
    gymnasium.registry.pop("FewSteps-v0")
    assert Config("not_there:FewSteps-v0").longest_episode is None


def test_a_run_of_rl2_is_not_taken_for_another_methods(capsys, tmp_path):
    small = "--tasks 2 --episodes 2 --horizon 8 --eval-tasks 2 --eval-episodes 2 --iterations 1".split()
    run = ["--log-dir", str(tmp_path / "run")]
    assert main(["train", "point-navigation", "--method", "rl2", *small, *run]) == 0
    capsys.readouterr()
    status, err = said(capsys, "train", "point-navigation", "--method", "maml", "--resume", "--iterations", "2", *run)
    assert status == 2 and "it is a run of rl2, not of maml" in err and err.count("\n") == 1


def test_the_help_names_every_method_and_the_settings_of_the_one_chosen(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "point-navigation", "--method", "reptile", "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert all(name in said for name in [*METHODS, *OUTERS, "--inner-optimizer", "--decay-iterations"])
    assert "--max-kl" not in said


def test_python_mistakes_are_clear_too():
    with pytest.raises(UserError, match="unknown setting 'inner_klx'; did you mean 'inner_kl'"):
        metarl.ProMP(ENV, inner_klx=1.0)
    with pytest.raises(UserError, match="Reptile's outer update"):
        metarl.Reptile(ENV, outer=metarl.TRPO())
    with pytest.raises(UserError, match="contradict"):
        metarl.FOMAML(ENV, first_order=False)


def test_discrete_actions_learn_too():
    import gymnasium
    import numpy as np

    class Corridor(gymnasium.Env):
        """Two buttons, one of which pays; the task says which."""

        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        task_space = gymnasium.spaces.Box(0.0, 1.0, (1,))

        def sample_tasks(self, n, rng):
            return rng.integers(2, size=(n, 1)).astype(float)

        def set_task(self, task):
            self.task = task

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.ones(1, np.float32), {}

        def step(self, action):
            return np.ones(1, np.float32), float(action == self.task[0]), False, False, {}

    for name, kind in MODELS.items():
        all_states = {"fisher_stride": 1} if hasattr(METHODS[name].outer, "fisher_stride") else {}
        sizes = {"tasks": 4, "episodes": 4, "horizon": 5, "hidden": (4,), "eval_tasks": 1, "eval_episodes": 1}
        model = kind(Corridor, **sizes, **all_states)
        before = {n: value.clone() for n, value in model.trainer.params.items()}
        model.learn(1)
        assert any(not torch.equal(before[n], value) for n, value in model.trainer.params.items()), name
        model.close()


@pytest.mark.parametrize("name", METHODS)
def test_all_learn_in_double_precision_where_that_is_torchs_default(name, double):
    memory = {} if METHODS[name].remembers else {"hidden": (8,)}
    sizes = {"tasks": 2, "episodes": 1, "horizon": 6, "eval_tasks": 2, "eval_episodes": 1}
    trainer = metarl.Model(Corridor, method=name, **sizes, **memory).learn(1).trainer
    assert {value.dtype for value in trainer.params.values()} == {torch.float64}
    with closing(trainer.build_inner_loop(held_out=False)) as inner_loop:
        tasks, rngs = draw_tasks(inner_loop, 2, 0, TEST), task_rngs(0, TEST, 0, range(2))
        _, played = next(iter(inner_loop.play(trainer.params, tasks, rngs)))
    assert {getattr(played, field).dtype for field in ("obs", "rew", "mask", "logp", "adv")} == {torch.float64}


@pytest.mark.parametrize(("name", "tasks"), [("promp", 10), ("maml", 20)])
def test_gradient_steps_in_the_place_of_a_memory_get_tasks_and_episodes(name, tasks, tmp_path, capsys):
    memory = find_preset("sparse-navigation")
    config = with_method(memory, name)
    assert (config.tasks, config.episodes) == (tasks, 10)
    steps = [c.iterations * c.tasks * c.episodes * (c.method.inner_steps + 1) for c in (memory, config)]
    assert steps[0] == pytest.approx(steps[1], rel=0.01)
    sizes = "--iterations 1 --horizon 5 --eval-tasks 2 --eval-episodes 2 --episodes 3".split()
    assert main(["train", "sparse-navigation", "--method", name, *sizes, "--log-dir", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert said.split("\n")[0] == f"metarl: with {name} instead of rl2: tasks {tasks} (8)"
