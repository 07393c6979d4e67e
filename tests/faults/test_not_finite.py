"""What is not finite is found where it comes from, named, and never saved; or its task is left out, exactly."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from broken_envs import Huge, Line
from torch.testing import assert_close

import metarl
from metarl.cli import main
from metarl.core import params as P
from metarl.errors import NotFinite
from metarl.experiment.build import Parts
from metarl.experiment.config import Config
from metarl.experiment.directory import RunDirectory
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.experiment.run import resume, train
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML, METHODS, SUPERVISED, Reptile
from metarl.outer import TRPO, Interpolation
from metarl.seeding import task_rngs
from metarl.workers.local import Workers
from metarl.workers.worker import Worker

SMALL = Config(
    env="line",
    tasks=3,
    episodes=3,
    horizon=6,
    hidden=(6,),
    inner_loss="likelihood-ratio",
    eval_tasks=3,
    eval_episodes=2,
    eval_steps=1,
    eval_every=100,
)
DROP = dataclasses.replace(SMALL, on_nan="drop")


def finite(checkpoint) -> bool:
    values = [*checkpoint.params.values(), *checkpoint.outer.values()]
    return all(bool(torch.isfinite(value).all()) for value in values)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (lambda: Line("reward nan"), r"reward is not finite in task 1 \(\[0.2\]\) at step 2"),
        (lambda: Line("reward inf"), r"reward is not finite in task 1 \(\[0.2\]\) at step 2"),
        (lambda: Line("reward -1e39"), r"reward is not finite in task 1 \(\[0.2\]\) at step 2"),
        (lambda: Line("observation nan"), r"observation is not finite in task 1 \(\[0.2\]\) at step 3"),
        (lambda: Line("observation -inf"), r"observation is not finite in task 1 \(\[0.2\]\) at step 3"),
        (Huge, "advantage is not finite in task 1"),
    ],
)
def test_a_run_stops_at_the_source_with_the_last_good_params(env, message, tmp_path, observe):
    directory = RunDirectory(tmp_path / "run")
    directory.create(SMALL)
    trainer = Trainer(SMALL, Parts(env))
    with pytest.raises(FloatingPointError, match=f"^{message}$") as stop:
        train(trainer, 3, directory)
    saved, _ = directory.newest()
    assert saved.state["iteration"] == 0 and finite(saved)
    observe(f"{env().fault or 'rewards of 3e38'}, `--on-nan stop`", f"`{stop.value}`; checkpoint 0 stands")


def sampled(trainer, change):
    """Episodes under the params of three tasks, of which the second one's are changed."""
    params = {name: value.clone() for name, value in P.stack(trainer.params, 3).items()}
    change(params)
    return trainer.inner_loop.sampler.sample(params, np.array([[0.1], [0.2], [0.3]]), task_rngs(0, 0, 0, range(3))(0))


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "adapted param is not finite in task 1 ([0.2])"), (500.0, "action is not finite in task 1")],
)
def test_params_and_actions_are_named_and_the_neighbours_play_on(value, message):
    def change(params):
        params["log_std"][1] = value

    trainer = Trainer(SMALL, Parts(Line))
    as_it_was, played = sampled(trainer, lambda params: None), sampled(trainer, change)
    assert list(played.faults) == [1] and message in played.faults[1].of(1)
    for name in ("obs", "act", "rew", "mask", "logp"):
        ours, theirs = getattr(played, name), getattr(as_it_was, name)
        assert torch.isfinite(ours).all()
        assert torch.equal(ours[[0, 2]], theirs[[0, 2]])


def test_every_task_may_be_at_fault():
    played = sampled(Trainer(SMALL, Parts(Line)), lambda params: params["log_std"].fill_(float("nan")))
    assert list(played.faults) == [0, 1, 2] and not played.rew.any() and played.mask.shape[2] == 1
    assert "adapted param is not finite in task 2" in played.faults[2].of(2)


def test_what_is_observed_after_the_last_action_is_no_fault():
    played = sampled(Trainer(SMALL, Parts(lambda: Line("end"))), lambda params: None)
    assert not played.faults and torch.isfinite(played.obs).all()
    assert played.lengths[1].tolist() == [3, 3, 3]


def test_meta_params_that_overflow_are_not_kept(tmp_path):
    config = dataclasses.replace(SMALL, method=Reptile(outer=Interpolation(step_size=1e39)))
    directory = RunDirectory(tmp_path / "run")
    directory.create(config)
    trainer = Trainer(config, Parts(Line))
    before = {name: value.clone() for name, value in trainer.params.items()}
    with pytest.raises(
        FloatingPointError, match=r"^meta-params is not finite after the outer update of meta-iteration 1$"
    ):
        train(trainer, 3, directory)
    assert all(torch.equal(trainer.params[name], before[name]) for name in before)
    assert finite(directory.newest()[0])


class WithoutTask1(Workers):
    """Workers that have never had task 1."""

    def collect(self, params, iteration):
        found = super().collect(params, iteration)
        self.remaining = 2
        return found


@pytest.mark.parametrize("name", METHODS)
def test_a_dropped_task_leaves_the_update_of_the_others(name):
    config = dataclasses.replace(DROP, method=METHODS[name])
    ours = Trainer(config, Parts(lambda: Line("reward nan")))
    theirs = Trainer(config, Parts(Line))
    inner_loop = theirs.build_inner_loop(tasks=2)
    theirs.workers = WithoutTask1([Worker(inner_loop, theirs.params, config.seed, 3, [0, 2])])
    for _ in range(2):
        mine, reference = ours.iterate(), theirs.iterate()
        measure = [key for key in mine if key.startswith("meta/") or key.startswith("train/surrogate")]
        assert [mine[key] for key in measure] == pytest.approx([reference[key] for key in measure], rel=1e-4, abs=1e-6)
    assert mine["train/dropped_tasks"] == 2
    for param, value in theirs.params.items():
        assert_close(ours.params[param], value, rtol=1e-4, atol=1e-6)


def test_where_every_task_is_dropped_that_is_said():
    class Everywhere(Line):
        def sample_tasks(self, n, rng):
            return np.full((n, 1), 0.2)

    model = metarl.MAML(lambda: Everywhere("reward nan"), tasks=3, episodes=2, horizon=6, on_nan="drop")
    with pytest.raises(NotFinite, match="no task is left: reward is not finite in task 0"):
        model.learn(1)


def shared(method, tasks, shares):
    """The meta-objective of workers on the same episodes, each with its share of the tasks, and their params."""
    whole, params = tiny.objective(method)
    (worker,) = whole.workers.workers
    objective = tiny.holding(worker.inner_loop, worker.like, worker.batch, shares)
    objective.workers.remaining = tasks
    return objective, params


@pytest.mark.parametrize(
    "shares",
    [[range(3)], [range(1), range(1, 3)], [range(1), range(1, 2), range(2, 3)]],
    ids=["one worker", "two", "three, one of them with that task alone"],
)
def test_a_task_whose_gradient_is_not_finite_is_dropped(shares, observe):
    method, trpo = MAML(inner_lr=0.3), TRPO(fisher_stride=1)
    ours, params = shared(method, 3, shares)
    ours.workers.on_nan = "drop"
    tiny.spoil(ours, 1)
    theirs, _ = shared(method, 2, [range(1), range(2, 3)])
    assert_close(ours.loss_and_gradient(params), theirs.loss_and_gradient(params))
    assert_close(*(whose.fisher_product(params, torch.ones_like(params), 1) for whose in (ours, theirs)))
    assert_close(ours.loss_and_kl(params + 0.01), theirs.loss_and_kl(params + 0.01))
    assert_close(trpo.step(ours, params), trpo.step(theirs, params))
    assert [fault.of(task) for task, fault in ours.workers.dropped.items()] == [
        "the meta-gradient is not finite in task 1"
    ]
    if len(shares) == 1:
        observe("meta-gradient not finite in one task, `--on-nan drop`", "equals the update without that task")


@pytest.mark.parametrize("method", ["maml", "reptile"])
def test_supervised_tasks_are_dropped_too(method):
    config = FewShotConfig(data="sinusoid", method=SUPERVISED[method], tasks=3, shots=4, queries=4, hidden=(5,))
    trainers = []
    for on_nan in ("stop", "drop"):
        trainer = Trainer(dataclasses.replace(config, on_nan=on_nan))
        draw = trainer.inner_loop.source.draw

        def spoilt(tasks, rngs, draw=draw):
            lesson = draw(tasks, rngs)
            lesson.support.y[1] = float("nan")
            return lesson

        object.__setattr__(
            trainer.inner_loop,
            "source",
            SimpleNamespace(draw=spoilt, sample_tasks=trainer.inner_loop.source.sample_tasks),
        )
        trainers.append(trainer)
    with pytest.raises(FloatingPointError, match="is not finite in task 1"):
        trainers[0].iterate()
    assert trainers[1].iterate()["train/dropped_tasks"] == 1
    assert all(torch.isfinite(value).all() for value in trainers[1].params.values())


def test_without_any_task_left_the_run_stops():
    class Everywhere(Line):
        def step(self, action):
            obs, _, *rest = super().step(action)
            return obs, float("nan"), *rest

    with pytest.raises(FloatingPointError, match="reward is not finite in task 0"):
        Trainer(DROP, Parts(Everywhere)).iterate()


def test_a_run_drops_counts_and_goes_on(tmp_path, observe):
    config = dataclasses.replace(DROP, eval_every=2)
    directory = RunDirectory(tmp_path / "run")
    directory.create(config)
    train(Trainer(config, Parts(lambda: Line("reward nan"))), 2, directory)
    again = Trainer(config, Parts(lambda: Line("reward nan")))
    resume(again, directory)
    curve = train(again, 4, directory)
    assert curve.dropped == 1 and curve.per_task.shape == (2, 2) and np.isfinite(curve.per_task).all()
    found = json.loads(directory.curve_file.read_text())
    assert found["dropped"] == 1 and len(found["tasks"]) == 2  # those that are left
    rows = list(csv.DictReader((tmp_path / "run" / "progress.csv").read_text().splitlines()))
    assert [row["train/dropped_tasks"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[-1]["eval/dropped_tasks"] == "1"
    assert finite(directory.newest()[0])
    observe("reward not finite in one task, `--on-nan drop`", "4 iterations done, `train/dropped_tasks` 4")


def test_a_run_that_stopped_goes_on_without_the_task(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create(SMALL)
    with pytest.raises(FloatingPointError):
        train(Trainer(SMALL, Parts(lambda: Line("reward nan"))), 2, directory)
    again = Trainer(DROP, Parts(lambda: Line("reward nan")))
    assert resume(again, directory) == []
    train(again, 2, directory)
    assert directory.config().on_nan == "drop"


def test_the_terminal_says_what_was_dropped(tmp_path, capsys):
    model = metarl.MAML(lambda: Line("observation inf"), tasks=3, episodes=2, horizon=6, on_nan="drop", verbose=True)
    model.learn(1)
    said = capsys.readouterr().out
    assert "iteration 1 without 1 of its tasks: observation is not finite in task 1 ([0.2]) at step 3\n" in said


def test_the_policy_is_an_option(capsys):
    assert main(["train", "point-navigation", "--on-nan", "ignore"]) == 2
    assert "invalid choice" in (said := capsys.readouterr().err) and "stop" in said and "drop" in said
    with pytest.raises(metarl.UserError, match="on_nan must be one of stop, drop, got 'skip'"):
        dataclasses.replace(SMALL, on_nan="skip")
