"""Going on with a run from Python: what was passed over or has changed is said, and nothing is left open."""

import json
import linecache

import pytest

import metarl
from metarl import UserError
from metarl.experiment.checkpoint import write_json

ENV = "metarl/PointNavigation-v0"
SMALL = {"tasks": 2, "episodes": 2, "horizon": 5, "hidden": (4,), "eval_tasks": 2, "eval_episodes": 2}
EVERY = {"checkpoint_every": 1, **SMALL}


@pytest.fixture
def run(tmp_path):
    metarl.MAML(ENV, log_dir=tmp_path / "run", **EVERY).learn(2).close()
    return tmp_path / "run"


def damage(run):
    newest = run / "checkpoints" / "iteration-000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-10])
    return newest.name


def line_of(told):
    """The line of code at which the only warning points."""
    (warning,) = told
    return linecache.getline(warning.filename, warning.lineno).strip()


def test_a_damaged_checkpoint_that_is_passed_over_is_told_at_the_users_line(run):
    name = damage(run)
    with pytest.warns(UserWarning, match=f"{name}.* is damaged .*; going on from iteration 1") as told:
        model = metarl.MAML(ENV, log_dir=run, resume=True, **EVERY)
    assert line_of(told) == "model = metarl.MAML(ENV, log_dir=run, resume=True, **EVERY)"
    assert model.trainer.progress.iteration == 1
    model.close()
    with pytest.warns(UserWarning, match="going back to iteration 1") as told:
        metarl.load(run, best=False).close()
    assert line_of(told) == "metarl.load(run, best=False).close()"


def test_a_loaded_model_that_learns_tells_it_too(run):
    model = metarl.load(run)  # the best one, which is whole
    name = damage(run)
    with pytest.warns(UserWarning, match=f"{name}.* is damaged .*; going on from iteration 1") as told:
        model.learn(1)
    assert line_of(told) == "model.learn(1)"
    assert model.trainer.progress.iteration == 2
    model.close()


def test_nothing_is_built_where_there_is_nothing_to_go_on_with():
    built = []

    def env():
        built.append(1)
        raise AssertionError

    with pytest.raises(UserError, match="resume=True needs a log_dir"):
        metarl.MAML(env, resume=True, **SMALL)
    with pytest.raises(UserError, match="resume=True needs a log_dir"):
        metarl.FewShot("folder", folder="nowhere", resume=True)
    assert not built


def recorded(run, **changes):
    """Change what `config.json` says, as another version would have written it."""
    record = json.loads((run / "config.json").read_text())
    record["versions"]["metarl-toolkit"] = "0.0.9"
    record["config"] |= changes
    write_json(run / "config.json", record)
    return record


def test_settings_that_an_older_version_did_not_have_are_told_once(run, capsys):
    record = recorded(run)
    del record["config"]["last_layer_std"], record["config"]["method"]["first_order"]
    write_json(run / "config.json", record)
    with pytest.warns(UserWarning) as told:
        metarl.MAML(ENV, log_dir=run, resume=True, **EVERY).close()
    words = [str(warning.message) for warning in told]
    assert words[0].startswith("versions differ: metarl-toolkit 0.0.9 -> ")
    assert words[1].endswith("without method.first_order=False, last_layer_std=None, the defaults of this one")
    metarl.MAML(ENV, log_dir=run, resume=True, **EVERY).close()


def test_a_default_of_another_version_is_named_where_the_settings_differ(run):
    recorded(run, discount=0.9)
    words = r"discount: 0.9 -> 0.99; metarl 0.0.9 trained it, whose defaults may be others: give these settings$"
    with pytest.raises(UserError, match=words):
        metarl.MAML(ENV, log_dir=run, resume=True, **EVERY)


def test_the_command_line_keeps_an_older_runs_settings_and_says_which(tmp_path, capsys):
    from metarl.cli.main import main

    typed = "--tasks 2 --episodes 2 --horizon 5 --hidden 4 --eval-tasks 2 --eval-episodes 2 --eval-steps 1".split()
    command = ["train", "point-navigation", *typed, "--log-dir", str(tmp_path / "run")]
    assert main([*command, "--iterations", "1", "--discount", "0.9"]) == 0
    recorded(tmp_path / "run")
    capsys.readouterr()
    assert main([*command, "--iterations", "2", "--resume"]) == 0
    words = "settings have changed since metarl 0.0.9, and the run keeps its own: discount: 0.9 -> 0.99"
    assert f"metarl: {words}\n" in capsys.readouterr().out
    assert main([*command, "--iterations", "3", "--resume"]) == 0
    assert "settings have changed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"baseline": "own:fn"}, r"baseline='own:fn' is how the command line names it; in Python.* from own import fn"),
        ({"policy": "own:make"}, r"policy='own:make' .*give the object: from own import make, then policy=make"),
        ({"method": "own:Mine"}, "unknown method 'own:Mine'.*in Python, give an object of your own"),
        ({"method": "prommp"}, "unknown method 'prommp'; did you mean 'promp'"),
    ],
)
def test_names_of_ones_own_things_are_for_the_command_line(settings, words):
    with pytest.raises(UserError, match=words):
        metarl.Model(ENV, **SMALL, **settings)


def test_methods_of_ours_go_by_their_names():
    model = metarl.Model(ENV, method="promp", inner_kl=0.1, **SMALL)
    assert model.config == metarl.ProMP(ENV, inner_kl=0.1, **SMALL).config
    sines = metarl.FewShot("sinusoid", method="reptile", tasks=2)
    assert sines.config.method == metarl.methods.SUPERVISED["reptile"]
    with pytest.raises(UserError, match="method promp is for reinforcement learning only; here are maml, fomaml"):
        metarl.FewShot("sinusoid", method="promp")
