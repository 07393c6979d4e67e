"""One Ray cluster for all tests, and actors that are used again: importing torch is what takes long."""

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
    """Actors by index."""
    return {}


@pytest.fixture
def reused(pool, monkeypatch):
    """Workers take actors that are alive as if they were new; those that die are replaced as ever."""
    start, kill = ray_workers.RayWorkers._start, ray.kill

    def start_or_reuse(self, index, cpus):
        replaces = len(getattr(self, "actors", ())) == self.number
        if replaces or index not in pool:
            pool[index] = start(self, index, 0)
        else:
            pool[index].__ray_call__.remote(lambda actor, *args: actor.__init__(*args), *self._arguments(index))
        return pool[index]

    monkeypatch.setattr(ray_workers.RayWorkers, "_start", start_or_reuse)
    monkeypatch.setattr(ray_workers.RayWorkers, "close", lambda self: None)
    yield
    for index, actor in list(pool.items()):
        try:
            ray.get(actor.__ray_call__.remote(lambda actor: None), timeout=60)
        except ray.exceptions.RayError:
            kill(pool.pop(index))
