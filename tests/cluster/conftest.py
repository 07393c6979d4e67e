"""One Ray cluster for all tests, and actors that are used again: importing torch is what takes long."""

import collections

import pytest
from cluster_rules import RULES

from metarl.errors import UserError
from metarl.workers import ray_cluster, ray_workers

try:
    ray = ray_cluster.import_ray(local=True)
except UserError:
    ray = None


@pytest.fixture(scope="session")
def cluster():
    """One node that lives as long as the tests."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=RULES)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def second_node(cluster):
    """Another node that a test may remove."""
    node = cluster.add_node(**RULES)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


@pytest.fixture(scope="session")
def pool(cluster):
    """Actors that were started and live."""
    return []


@pytest.fixture
def reused(pool, monkeypatch):
    """Workers take actors that are alive as if they were new; those that die are replaced as ever."""
    start, kill = ray_workers.RayWorkers._start, ray.kill
    begun = collections.Counter()

    def start_or_reuse(self, cpus):
        replaces, index = bool(self.members), begun[self]
        begun[self] += 1
        if replaces or index == len(pool):
            pool.append(start(self, 0).actor)
            return ray_workers.Member(pool[-1], cpus)
        pool[index].__ray_call__.remote(lambda actor, *args: actor.__init__(*args), *self._arguments())
        return ray_workers.Member(pool[index], cpus)

    monkeypatch.setattr(ray_workers.RayWorkers, "_start", start_or_reuse)
    monkeypatch.setattr(ray_workers.RayWorkers, "close", lambda self: None)
    yield
    for actor in list(pool):
        try:
            ray.get(actor.__ray_call__.remote(lambda actor: None), timeout=60)
        except ray.exceptions.RayError:
            pool.remove(actor)
            kill(actor)
