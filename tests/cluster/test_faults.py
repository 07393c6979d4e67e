"""Workers that die, hang or fail: the run goes on to the bit, or says in one line what happened."""

import dataclasses
import logging
import threading
from functools import partial

import numpy as np
import pytest
import torch
from accidents import Corridor
from runs import TINY, assert_same, before, kill, on, run

from metarl import UserError
from metarl.methods import EMAML, MAML, ProMP, Reptile
from metarl.outer import TRPO
from metarl.workers import ray_cluster, ray_workers

ray = pytest.importorskip("ray", reason="Ray is not installed")
reused = pytest.mark.usefixtures("reused")


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


OWN = dataclasses.replace(TINY, env="accidents:Corridor", action_scale=1.0)
DAMPED = MAML(inner_lr=0.1, outer=TRPO(cg_damping=0.1))


@reused
@pytest.mark.parametrize(
    ("method", "name", "call"),
    [
        (MAML(), "fisher_product", 4),
        slow(MAML(), "collect", 2),
        slow(MAML(), "loss_and_kl", 2),
        slow(MAML(), "evaluate", 1),
        slow(EMAML(), "fisher_product", 2),
        slow(ProMP(), "loss_and_gradient", 3),
        slow(Reptile(), "adapted", 1),
    ],
    ids=lambda value: type(value).__name__ if dataclasses.is_dataclass(value) else str(value),
)
def test_a_killed_worker_begins_again_and_the_run_is_the_same_to_the_bit(method, name, call, caplog):
    config = dataclasses.replace(TINY, method=method, workers=2)
    whole = run(dataclasses.replace(config, workers="local"))
    with caplog.at_level(logging.WARNING, "metarl"):
        assert_same(whole, run(config, disturb=before(name, call, kill(1))))
    (said,) = caplog.messages
    assert said.startswith("metarl: the worker of tasks 3-4 died (The actor died unexpectedly")


@reused
@pytest.mark.slow
def test_two_workers_at_once():
    def both(workers):
        kill(0)(workers)
        kill(1)(workers)

    assert_same(run(on(2)), run(on(2), disturb=before("fisher_product", 3, both)))


@reused
def test_a_worker_killed_in_the_middle_of_an_episode(tmp_path):
    marker = tmp_path / "killed"
    whole = run(on(2, OWN), source=Corridor)
    again = run(on(2, OWN), source=partial(Corridor, "killed once", str(marker)))
    assert marker.exists()
    assert_same(whole, again)


@pytest.mark.slow
def test_a_lost_node(cluster, second_node):
    places = []

    def lose(workers):
        where = [a.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id()) for a in workers.actors]
        places.extend(ray.get(where))
        cluster.remove_node(second_node, allow_graceful=False)

    disturbed = run(on(2), disturb=before("fisher_product", 3, lose))
    assert len(set(places)) == 2
    assert_same(run(on(2)), disturbed)


@reused
@pytest.mark.slow
def test_a_worker_that_always_dies_ends_the_run(monkeypatch):
    monkeypatch.setattr(ray_workers, "RESTARTS", 1)
    with pytest.raises(UserError, match=r"^the worker of tasks 3-4 died 2 times in 'collect': The actor died"):
        run(on(2, OWN), source=partial(Corridor, "killed"))


@reused
def test_errors_of_the_environment_arrive(cluster):
    with pytest.raises(FloatingPointError, match=r"^reward is not finite in task 3 \(\[-?4.0\]\) at step 0$"):
        run(on(2, OWN), source=partial(Corridor, "nan"))
    with pytest.raises(RuntimeError, match=r'(?s)accidents.py", line \d+, in have_accident.*on fire'):
        run(on(2, OWN), source=partial(Corridor, "raises"))


@reused
def test_a_task_is_dropped_by_all_workers_and_a_killed_one_still_knows_it():
    config, source = dataclasses.replace(OWN, on_nan="drop", method=DAMPED), partial(Corridor, "nan")
    (alone, metrics, _), whole = run(config, source=source), run(on(2, config), source=source)
    assert [m["train/dropped_tasks"] for m in whole[1]] == [1, 2]  # task 3, of the second worker, every time
    assert whole[1][0]["meta/return_step1"] == metrics[0]["meta/return_step1"]
    torch.testing.assert_close(whole[0], alone, rtol=1e-3, atol=1e-4)
    assert_same(whole, run(on(2, config), source=source, disturb=before("fisher_product", 4, kill(1))))


@reused
def test_an_id_that_only_the_driver_registered():
    import gymnasium

    gymnasium.register("Corridor-v0", lambda: Corridor(), max_episode_steps=9)  # pickled by value
    try:
        config = dataclasses.replace(TINY, env="Corridor-v0", action_scale=1.0)
        whole, shared = run(config), run(on(2, config))
    finally:
        del gymnasium.registry["Corridor-v0"]
    assert np.array_equal(whole[1][0]["meta/return_step1"], shared[1][0]["meta/return_step1"])


@reused
def test_an_environment_that_hangs_runs_into_the_time_limit():
    said = r"^the worker of tasks 3-4 gave no answer to 'collect' within 2 s \(worker_timeout\)"
    with pytest.raises(UserError, match=said):
        run(on(2, OWN, worker_timeout=2.0), source=partial(Corridor, "hangs"))


@reused
def test_what_cannot_be_sent_is_said_and_ray_is_let_go():
    users, lock = set(ray_cluster._users), threading.Lock()
    with pytest.raises(UserError, match=r"what the workers need cannot be sent to them \(.*lock"):
        run(on(2, OWN), source=lambda: Corridor(str(lock)))
    assert ray_cluster._users == users
