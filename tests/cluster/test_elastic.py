"""Machines that join and leave a cluster, and CPUs that others take or free: only the number of actors changes."""

import dataclasses
import logging
from functools import partial

import pytest
from accidents import Corridor
from cluster_rules import RULES
from runs import TINY, assert_same, before, kill, on, run
from test_exact import SINES

from metarl.workers import ray_elastic
from metarl.workers.ray_elastic import ElasticWorkers, _fewest
from metarl.workers.ray_workers import RayWorkers

ray = pytest.importorskip("ray", reason="Ray is not installed")
reused = pytest.mark.usefixtures("reused")


@pytest.fixture(autouse=True)
def every_iteration(monkeypatch):
    """Look at the cluster at every iteration, not every few seconds."""
    monkeypatch.setattr(ray_elastic, "LOOK_SECONDS", 0.0)


@pytest.fixture
def numbers(monkeypatch):
    """The number of actors in each iteration; newcomers are waited for, so that it does not depend on the time."""
    look, collect, counted = ElasticWorkers._look, RayWorkers.collect, []

    def wait_and_look(self, now):
        if self.newcomers:
            ray.wait(list(self.newcomers), num_returns=len(self.newcomers), timeout=60)
        look(self, now)

    def count_and_collect(self, *args):
        counted.append(len(self.members))
        return collect(self, *args)

    monkeypatch.setattr(ElasticWorkers, "_look", wait_and_look)
    monkeypatch.setattr(RayWorkers, "collect", count_and_collect)
    return counted


def free_cpus(monkeypatch, *seen):
    """Let the cluster claim to have so many free CPUs, one number a look, at the end the last one."""
    seen = list(seen)
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": float(seen.pop(0) if len(seen) > 1 else seen[0])})


def in_turn(accidents):
    """Have accidents happen at the n-th call of a name, all of them in one run."""

    def disturb(workers):
        for (name, call), accident in accidents.items():
            before(name, call, accident)(workers)

    return disturb


@pytest.mark.parametrize("graceful", [True, pytest.param(False, marks=pytest.mark.slow)])  # Ray waits 16 s for it
def test_a_node_joins_and_leaves_within_an_iteration(graceful, cluster, numbers, caplog):
    nodes = []

    def come_and_go(workers):
        before("collect", 2, lambda workers: nodes.append(cluster.add_node(**RULES)))(workers)
        ask = workers.ask

        def lose_and_ask(name, *args):
            if name == "fisher_product" and len(workers.actors) == 2 and nodes[0] in cluster.worker_nodes:
                cluster.remove_node(nodes[0], graceful)
            return ask(name, *args)

        workers.ask = lose_and_ask

    with caplog.at_level(logging.WARNING, "metarl"):
        elastic = run(on("auto"), 7, disturb=come_and_go)
    assert numbers == [1, 1, 1, 1, 2, 1, 1]
    assert caplog.messages[0] == "metarl: 2 workers instead of 1: CPUs of the cluster have become free"
    assert all(said.startswith("metarl: the worker of tasks 3-4 died") for said in caplog.messages[1:-1])
    assert caplog.messages[-1] == "metarl: 1 worker instead of 2: the cluster has no CPU for those that died"
    assert_same(run(TINY, 7), elastic)


@reused
def test_a_few_shot_run_grows(numbers, monkeypatch):
    free_cpus(monkeypatch, 1, 1, 1, 0)
    assert_same(run(SINES, 4), run(on("auto", SINES), 4))
    assert numbers == [1, 1, 2, 2]


@reused
def test_cpus_that_come_and_go_are_left_alone(numbers, monkeypatch):
    free_cpus(monkeypatch, 1, 1, 0, 1, 0, 2, 0)
    assert_same(run(TINY, 6), run(on("auto"), 6))
    assert numbers == [1] * 6


@reused
def test_a_number_stays_what_it_is(numbers, monkeypatch):
    free_cpus(monkeypatch, 4)
    run(on(1), 4)
    assert numbers == [1] * 4


@reused
@pytest.mark.slow
def test_a_killed_worker_gets_a_cpu_again(numbers, monkeypatch, caplog):
    held = []
    accidents = {
        ("fisher_product", 4): kill(1),
        ("collect", 2): lambda workers: held.append([member.cpus for member in workers.members]),
        ("evaluate", 1): lambda workers: held.append([member.cpus for member in workers.members]),
    }
    free_cpus(monkeypatch, 2, 0, 1, 0)
    with caplog.at_level(logging.WARNING, "metarl"):
        assert_same(run(TINY, 3), run(on("auto"), 3, disturb=in_turn(accidents)))
    assert numbers == [2, 2, 2] and held == [[1, 0], [1, 1]]
    assert len(caplog.messages) == 1


@reused
@pytest.mark.slow
def test_all_die_and_one_goes_on_without_a_cpu_until_there_is_one(numbers, monkeypatch):
    def all_of_them(workers):
        kill(0)(workers)
        kill(1)(workers)

    free_cpus(monkeypatch, 2, 0, 0, 0, 1, 0)
    assert_same(run(TINY, 6), run(on("auto"), 6, disturb=before("fisher_product", 4, all_of_them)))
    assert numbers == [2, 1, 1, 1, 1, 1]


@reused
def test_a_newcomer_that_does_not_come_is_not_waited_for(monkeypatch):
    started, start = [], ElasticWorkers._start_newcomers

    def count(self, placed, now):
        start(self, placed, now)
        started.extend(self.newcomers.values())

    monkeypatch.setattr(ElasticWorkers, "_start_newcomers", count)
    monkeypatch.setattr(ray_elastic, "START_SECONDS", 0.0)
    free_cpus(monkeypatch, 1, 1, 1, 0)
    assert_same(run(TINY, 5), run(on("auto"), 5))
    assert len(started) == 1
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(started[0].actor.__ray_ready__.remote(), timeout=60)


class ElsewhereBroken(Corridor):
    """It cannot be built any more once its marker is there, as on a machine that lacks a file."""

    def __init__(self, marker):
        super().__init__(marker=marker)
        if self.marker.exists():
            raise FileNotFoundError("no such model")


@reused
def test_a_newcomer_that_fails_is_left_out_and_not_tried_again(tmp_path, numbers, monkeypatch, caplog):
    marker = tmp_path / "marker"
    source = partial(ElsewhereBroken, str(marker))
    config = dataclasses.replace(TINY, env="test_elastic:ElsewhereBroken", action_scale=1.0)
    whole = run(config, 6, source=source)
    free_cpus(monkeypatch, 1)
    accidents = {("collect", 1): lambda workers: marker.touch(), ("evaluate", 1): lambda workers: marker.unlink()}
    with caplog.at_level(logging.WARNING, "metarl"):
        assert_same(whole, run(on("auto", config), 6, source=source, disturb=in_turn(accidents)))
    assert numbers == [1] * 6
    (said,) = caplog.messages
    assert said.startswith("metarl: a worker that was to join failed (") and "no such model" in said


def test_only_as_many_as_make_the_largest_share_smaller():
    assert [_fewest(5, workers) for workers in range(6)] == [0, 1, 2, 3, 3, 5]
    assert [_fewest(20, workers) for workers in (9, 10, 13, 19, 20)] == [7, 10, 10, 10, 20]
