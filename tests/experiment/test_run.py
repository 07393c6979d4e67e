"""Whole runs: to the bit, logged, resumed, interrupted."""

import csv
import dataclasses
import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metarl import UserError
from metarl.experiment.config import Config
from metarl.experiment.config_file import from_dict
from metarl.experiment.directory import RunDirectory
from metarl.experiment.run import resume, train
from metarl.experiment.signals import Interrupted
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML

TINY = Config(
    env="metarl/PointNavigation-v0",
    method=MAML(inner_lr=0.5),
    tasks=4,
    episodes=4,
    horizon=10,
    hidden=(8,),
    action_scale=0.1,
    eval_every=2,
    eval_tasks=3,
    eval_episodes=2,
    eval_steps=2,
    checkpoint_every=2,
)


def trained(config: Config, iterations: int, directory=None) -> Trainer:
    trainer = Trainer(config)
    if directory is not None:
        directory.create(config)
    train(trainer, iterations, directory)
    trainer.close()
    return trainer


def interrupted_at(iteration: int, directory: RunDirectory) -> Trainer:
    """A run of 6 iterations that SIGTERM reaches while one of them is going on."""
    trainer = Trainer(TINY)
    directory.create(TINY)
    iterate = trainer.iterate

    def and_be_told_to_stop():
        if trainer.progress.iteration == iteration - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return iterate()

    trainer.iterate = and_be_told_to_stop
    with pytest.raises(Interrupted):
        train(trainer, 6, directory)
    trainer.close()
    return trainer


def wait_for_the_next_second() -> None:
    """TensorBoard orders event files by the second in their names, as a resumed run's differ."""
    time.sleep(1.01 - time.time() % 1)


def assert_same(a: Trainer, b: Trainer) -> None:
    assert all(torch.equal(a.params[name], b.params[name]) for name in a.params)
    stands = [(t.progress.iteration, t.progress.env_steps, t.progress.best_return) for t in (a, b)]
    assert stands[0] == stands[1]


@pytest.mark.parametrize("env", ["metarl/PointNavigation-v0", "metarl/HalfCheetahVel-v0"])
def test_same_seed_same_bits(env):
    config = dataclasses.replace(TINY, env=env)
    once, again = trained(config, 3), trained(config, 3)
    assert_same(once, again)
    other = trained(dataclasses.replace(config, seed=1), 3)
    assert not torch.equal(once.params["log_std"], other.params["log_std"])


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_resumed_run_continues_to_the_bit_without_overlap(tmp_path, cut):
    whole = trained(TINY, 6, RunDirectory(tmp_path / "whole"))
    directory = RunDirectory(tmp_path / "cut")
    interrupted_at(cut, directory)
    wait_for_the_next_second()
    trainer = Trainer(TINY)
    assert resume(trainer, directory) == []
    assert trainer.progress.iteration == cut
    train(trainer, 6, directory)
    trainer.close()
    assert_same(whole, trainer)

    rows = {name: _rows(tmp_path / name) for name in ("whole", "cut")}
    steps, expected = ([int(row["time/total_timesteps"]) for row in rows[name]] for name in ("cut", "whole"))
    assert steps == sorted(set(steps)) == expected
    for name in ("meta/return_step1", "train/approx_kl"):
        assert [row[name] for row in rows["cut"]] == [row[name] for row in rows["whole"]]
    assert _points(tmp_path / "cut") == _points(tmp_path / "whole")


def test_a_run_stopped_in_the_middle_of_an_evaluation_loses_nothing(tmp_path):
    whole = trained(TINY, 6, RunDirectory(tmp_path / "whole"))
    directory = RunDirectory(tmp_path / "cut")
    trainer = Trainer(TINY)
    directory.create(TINY)

    def stop():
        raise KeyboardInterrupt

    trainer.evaluate = stop
    with pytest.raises(KeyboardInterrupt):
        train(trainer, 6, directory)
    wait_for_the_next_second()
    again = Trainer(TINY)
    resume(again, directory)
    assert again.progress.iteration == 1  # the last one that was done, evaluated and logged
    train(again, 6, directory)
    assert_same(whole, again)
    assert _points(tmp_path / "cut") == _points(tmp_path / "whole")


def test_a_run_that_died_at_once_can_be_resumed_and_more_iterations_are_remembered(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    trainer = Trainer(TINY)
    directory.create(TINY)

    def die():
        raise FloatingPointError("reward is not finite in task 0")

    trainer.iterate = die
    with pytest.raises(FloatingPointError):
        train(trainer, 6, directory)
    more = Trainer(dataclasses.replace(TINY, iterations=3))
    resume(more, directory)
    assert more.progress.iteration == 0
    train(more, 3, directory)
    assert directory.config().iterations == 3
    assert_same(more, trained(TINY, 3))


def test_points_logged_after_the_last_checkpoint_are_dropped_on_resume(tmp_path):
    whole = trained(TINY, 6, RunDirectory(tmp_path / "whole"))
    directory = RunDirectory(tmp_path / "cut")
    trained(TINY, 4, directory)
    directory.checkpoints()[-1].unlink()  # as if the run had been killed before it was written
    wait_for_the_next_second()
    trainer, directory = Trainer(TINY), RunDirectory(tmp_path / "cut")
    resume(trainer, directory)
    assert trainer.progress.iteration == 2
    train(trainer, 6, directory)
    trainer.close()
    assert_same(whole, trainer)
    assert len(_rows(tmp_path / "cut")) == 6
    assert _points(tmp_path / "cut") == _points(tmp_path / "whole")


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    trained(TINY, 4, directory)
    newest = directory.checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[:-10])
    trainer = Trainer(TINY)
    (note,) = resume(trainer, directory)
    assert trainer.progress.iteration == 2
    assert newest.name in note and "going on from iteration 2" in note


def test_resuming_with_other_settings_lists_them(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    trained(TINY, 2, directory)
    other = dataclasses.replace(TINY, tasks=5, method=MAML(inner_lr=0.25), iterations=999)
    with pytest.raises(UserError, match=r"method.inner_lr: 0.5 -> 0.25, tasks: 4 -> 5$"):
        resume(Trainer(other), directory)


def test_another_network_is_refused():
    saved = Trainer(TINY).snapshot()
    with pytest.raises(UserError, match="network"):
        Trainer(dataclasses.replace(TINY, hidden=(9,))).restore(saved)


def test_a_run_directory_holds_what_is_needed_to_repeat_the_run(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    trained(TINY, 5, directory)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert from_dict(record["config"]) == directory.config() == TINY
    assert record["versions"]["torch"] == torch.__version__
    assert record["seed"] == 0 and "git_commit" in record
    assert [p.name[-13:-12] for p in directory.checkpoints()] == ["2", "4", "5"]
    assert directory.best.exists()
    with pytest.raises(UserError, match="already holds a run"):
        directory.create(TINY)


def test_names_in_tensorboard_are_those_people_know(tmp_path):
    trained(TINY, 2, RunDirectory(tmp_path))
    names = set(_points(tmp_path, everything=True))
    assert {
        "rollout/ep_rew_mean", "meta/return_step0", "meta/return_step1", "meta/adaptation_gain",
        "train/approx_kl", "train/surrogate_loss", "train/line_search_steps",
        "time/fps", "time/sampling_seconds", "time/meta_update_seconds",
        "physics/unstable_simulations", "eval/return_step0", "eval/return_step1", "eval/return_step2",
    } <= names  # fmt: skip


def test_evaluation_leaves_the_params_untouched_and_repeats_itself():
    trainer = Trainer(TINY)
    before = {name: value.clone() for name, value in trainer.params.items()}
    first, again = trainer.evaluate(), trainer.evaluate()
    assert all(torch.equal(before[name], trainer.params[name]) for name in before)
    assert np.array_equal(first.per_task, again.per_task)
    assert first.per_task.shape == (3, 3)
    assert first.env_steps <= 3 * 3 * 2 * 10


def test_an_error_keeps_the_last_good_params(tmp_path, monkeypatch):
    directory = RunDirectory(tmp_path / "run")
    trainer = Trainer(TINY)
    directory.create(TINY)
    step = type(TINY.method.outer).step

    def fail(self, workers, params):
        if trainer.progress.iteration == 3:
            raise FloatingPointError("reward is not finite in task 2")
        return step(self, workers, params)

    monkeypatch.setattr(type(TINY.method.outer), "step", fail)
    with pytest.raises(FloatingPointError):
        train(trainer, 6, directory)
    monkeypatch.undo()
    saved = directory.newest()[0]
    assert saved.state["iteration"] == 3
    good = trained(TINY, 3).params
    assert all(torch.equal(saved.params[name], good[name]) for name in good)


def test_a_progress_bar_is_shown_on_a_terminal(tmp_path):
    from rich.console import Console

    from metarl.experiment.terminal import Terminal

    with open(tmp_path / "tty", "w+") as file:
        terminal = Terminal(3, "tiny", Console(file=file, force_terminal=True, width=150))
        train(Trainer(TINY), 3, None, [terminal])
        file.seek(0)
        shown = file.read()
    assert "3/3" in shown and "return -" in shown and "held-out -" in shown


def _rows(path):
    with open(path / "progress.csv", newline="") as file:
        return list(csv.DictReader(file))


def _points(path, everything=False):
    """Every scalar in TensorBoard's files but those that time something, as (step, value)."""
    accumulator = EventAccumulator(str(path))
    accumulator.Reload()
    names = [
        name for name in accumulator.Tags()["scalars"] if everything or ("seconds" not in name and "fps" not in name)
    ]
    return {name: [(e.step, e.value) for e in accumulator.Scalars(name)] for name in names}


def test_no_time_is_lost_between_iterations():
    """Logging, evaluation aside, costs little beside the iteration itself."""
    config = dataclasses.replace(TINY, eval_every=1000)
    trainer = Trainer(config)
    train(trainer, 2)
    started = time.perf_counter()
    inside = 0.0
    for _ in range(5):
        metrics = trainer.iterate()
        inside += metrics["time/sampling_seconds"] + metrics["time/meta_update_seconds"]
    assert inside > 0.8 * (time.perf_counter() - started)


def test_the_millionth_checkpoint_is_the_newest(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    trained(TINY, 2, directory)
    found = Trainer(TINY).snapshot()
    for iteration in (999_999, 1_000_000):
        directory.save(dataclasses.replace(found, state={**found.state, "iteration": iteration}), keep=2)
    assert directory.newest()[0].state["iteration"] == 1_000_000


def test_params_in_another_order_are_not_restored():
    trainer = Trainer(TINY)
    saved = trainer.snapshot()
    turned = dataclasses.replace(saved, params=dict(reversed(saved.params.items())))
    with pytest.raises(UserError, match="is not this run's"):
        trainer.restore(turned)
