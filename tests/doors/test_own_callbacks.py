"""Other people's callbacks and outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import KVWriter

import metarl
from metarl.cli.main import main

SMALL = {"tasks": 3, "episodes": 3, "horizon": 8, "hidden": (8,), "action_scale": 0.1, "eval_tasks": 2}
ENV = "metarl/PointNavigation-v0"


class StopEarly:
    """Stops after so many evaluations without a better one."""

    def __init__(self, patience: int):
        self.patience, self.best, self.waited = patience, float("-inf"), 0

    def on_evaluation(self, curve):
        self.waited = 0 if curve.mean[1] > self.best else self.waited + 1
        self.best = max(self.best, curve.mean[1])

    def on_iteration(self, trainer, metrics):
        return self.waited < self.patience


class Diary:
    """Notes what is called, in order."""

    def __init__(self):
        self.calls = []

    def on_start(self, trainer):
        self.calls.append("start")

    def on_iteration(self, trainer, metrics):
        metrics["own/number"] = 7.0
        self.calls.append(f"iteration {trainer.progress.iteration}")

    def on_evaluation(self, curve):
        self.calls.append("evaluation")

    def on_end(self, trainer):
        self.calls.append("end")


class Rows(KVWriter):
    """An output of one's own."""

    def __init__(self):
        self.rows, self.closed = [], False

    def write(self, key_values, key_excluded, step=0):
        self.rows.append((step, dict(key_values)))

    def close(self):
        self.closed = True


def test_early_stopping(tmp_path):
    class Never(StopEarly):
        def on_evaluation(self, curve):
            self.waited += 1

    model = metarl.MAML(ENV, log_dir=tmp_path / "run", eval_every=2, **SMALL).learn(20, callbacks=[Never(2)])
    assert model.trainer.progress.iteration == 4
    assert metarl.load(tmp_path / "run", best=False).trainer.progress.iteration == 4  # and it is saved
    patient = metarl.MAML(ENV, eval_every=1, **SMALL).learn(3, callbacks=[StopEarly(100)])
    assert patient.trainer.progress.iteration == 3


def test_callbacks_are_called_in_order_and_add_to_the_log():
    diary, rows = Diary(), Rows()
    metarl.MAML(ENV, eval_every=2, **SMALL).learn(3, callbacks=[diary], outputs=[rows])
    assert diary.calls == ["start", "iteration 1", "evaluation", "iteration 2", "evaluation", "iteration 3", "end"]
    assert [row["own/number"] for _, row in rows.rows] == [7.0] * 3
    assert [row["time/iterations"] for _, row in rows.rows] == [1, 2, 3]
    assert "eval/return_step1" in rows.rows[1][1] and rows.closed


def test_the_end_is_called_where_a_callback_fails(tmp_path):
    class Fails(Diary):
        def on_iteration(self, trainer, metrics):
            super().on_iteration(trainer, metrics)
            if trainer.progress.iteration == 2:
                raise RuntimeError("mine")

    diary = Fails()
    model = metarl.MAML(ENV, log_dir=tmp_path / "run", **SMALL)
    with pytest.raises(RuntimeError, match="mine"):
        model.learn(5, callbacks=[diary])
    assert diary.calls[-1] == "end"
    assert metarl.load(tmp_path / "run", best=False).trainer.progress.iteration == 1  # the last whole iteration


def test_what_is_no_callback_is_refused():
    with pytest.raises(metarl.UserError, match="is no callback; it needs one of on_start, on_iteration"):
        metarl.MAML(ENV, **SMALL).learn(1, callbacks=[object()])


OWN = """
def hello(trainer): pass
class Deaf:
    def on_evaluation(self): pass
class Set:
    on_iteration = 5
class Other:
    def on_step(self): pass
def none(): pass
def mean(episodes): pass
def of_three(episodes, returns, more): pass
class Mean:
    def __call__(self, episodes, returns): pass
"""


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("callback", "hello", "a callback's on_iteration is called with (trainer, metrics), got hello(trainer)"),
        ("callback", "Deaf", "a callback's on_evaluation is called with (curve), got Deaf.on_evaluation()"),
        ("callback", "Set", "a callback's on_iteration must be a function of (trainer, metrics), got 5"),
        ("callback", "Other", "is no callback; it needs one of on_start, on_iteration, on_evaluation, on_end"),
        ("baseline", "mean", "baseline is called with (episodes, returns), got mean(episodes)"),
        ("baseline", "of_three", "baseline is called with (episodes, returns), got of_three(episodes, returns, more)"),
        ("baseline", "Mean", "baseline is called with (episodes, returns), got Mean()"),
        ("inner-loss", "none", "inner_loss is called with (distribution, episodes), got none()"),
        ("policy", "mean", "policy is called with (observation_space, action_space, generator), got mean(episodes)"),
    ],
)
def test_what_takes_other_arguments_is_refused_before_a_run_begins(option, name, message, tmp_path, capsys):
    (tmp_path / "wrongly.py").write_text(OWN)
    arguments = ["train", "point-navigation", f"--{option}", f"wrongly:{name}", "--log-dir", "run"]
    assert main([*arguments, "--tasks", "2", "--episodes", "2", "--horizon", "6", "--iterations", "1"]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_functions_of_any_arguments_are_taken():
    seen = []
    model = metarl.MAML(ENV, baseline=lambda *both: both[1], **SMALL)
    model.learn(1, callbacks=[lambda trainer, metrics, more=None: seen.append(trainer)]).close()
    assert len(seen) == 1


def test_a_run_goes_on_from_python(tmp_path):
    once = metarl.MAML(ENV, **SMALL).learn(4)
    first = metarl.MAML(ENV, log_dir=tmp_path / "run", eval_every=1, **SMALL).learn(1)
    first.learn(1)  # again
    first.close()
    second = metarl.MAML(ENV, log_dir=tmp_path / "run", eval_every=1, resume=True, **SMALL).learn(1)
    second.close()
    third = metarl.load(tmp_path / "run").learn(1)  # which may have loaded an earlier, better checkpoint
    assert third.trainer.progress.iteration == 4
    assert all(torch.equal(once.trainer.params[n], third.trainer.params[n]) for n in once.trainer.params)
    rows = (tmp_path / "run" / "progress.csv").read_text().splitlines()
    assert len(rows) == 5
    with pytest.raises(metarl.UserError, match="resume=True needs a log_dir"):
        metarl.MAML(ENV, resume=True, **SMALL)


def test_numpys_false_and_plain_functions_and_classes_will_do():
    seen = []

    class Made:
        def on_end(self, trainer):
            seen.append("end")

    def stop(trainer, metrics):
        seen.append(trainer.progress.iteration)
        return np.bool_(trainer.progress.iteration < 2)

    metarl.MAML(ENV, **SMALL).learn(5, callbacks=[stop, Made])
    assert seen == [1, 2, "end"]


def test_the_command_says_that_a_callback_has_ended_the_run(tmp_path, capsys):
    (tmp_path / "ends.py").write_text("def at_once(trainer, metrics):\n    return False\n")
    size = ["--tasks", "2", "--episodes", "2", "--horizon", "3", "--eval-tasks", "1", "--iterations", "4"]
    assert main(["train", "point-navigation", "--callback", "ends:at_once", *size, "--log-dir", "run"]) == 0
    assert "a callback ended the run after 1 of 4 meta-iterations" in capsys.readouterr().out


def test_a_callback_that_needs_arguments_is_asked_for_as_an_object():
    with pytest.raises(metarl.UserError, match=r"StopEarly needs arguments \(.*\); give an object of it"):
        metarl.MAML(ENV, **SMALL).learn(1, callbacks=[StopEarly])


def test_a_metric_of_ones_own_may_be_called_as_ours_are(capsys):
    def measure(trainer, metrics):
        metrics["meta/mine_step0"] = metrics["eval/mine_step0"] = 1234.0

    metarl.MAML(ENV, eval_every=1, verbose=1, **SMALL).learn(1, callbacks=[measure])
    assert "return -" in (said := capsys.readouterr().out) and "1234" not in said


def test_a_metric_that_is_no_number_is_refused(tmp_path):
    class Names:
        def on_iteration(self, trainer, metrics):
            metrics["own/name"] = "north"

    with pytest.raises(metarl.UserError, match="metric 'own/name' must be a number, got 'north'"):
        metarl.MAML(ENV, log_dir=tmp_path / "run", **SMALL).learn(1, callbacks=[Names()])
