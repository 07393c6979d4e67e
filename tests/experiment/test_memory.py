"""The memory that a run may use: this machine's, and what a container or a batch system leaves of it."""

import dataclasses

import pytest

from metarl import UserError
from metarl.experiment import memory
from metarl.experiment.memory import check_memory, container_memory
from metarl.experiment.presets import PRESETS

UNLIMITED_V1 = 9223372036854771712


def groups(tmp_path, own, limits):
    """Control groups as Linux shows them: what /proc/self/cgroup says, and the files of limits."""
    (tmp_path / "own").write_text(own)
    for name, value in limits.items():
        file = tmp_path / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return container_memory(tmp_path / "fs", tmp_path / "own")


@pytest.mark.parametrize(
    ("own", "limits", "least"),
    [
        ("0::/\n", {"memory.max": 4 * 10**9}, 4 * 10**9),
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/\n", {}, None),
        ("0::/job/step\n", {"job/step/memory.max": "max", "job/memory.max": 10**9, "memory.max": 2 * 10**9}, 10**9),
        ("4:memory:/docker/a\n", {"memory/docker/a/memory.limit_in_bytes": 10**9}, 10**9),
        ("4:memory:/docker/a\n0::/\n", {"memory/memory.limit_in_bytes": 3 * 10**9}, 3 * 10**9),
        ("4:cpu,memory:/a\n1:cpuset:/a\n", {"memory/a/memory.limit_in_bytes": UNLIMITED_V1}, UNLIMITED_V1),
        ("1:cpuset:/a\n", {"memory.max": 5, "memory/memory.limit_in_bytes": 5}, None),
    ],
)
def test_the_least_limit_of_the_control_groups_holds(tmp_path, own, limits, least):
    assert groups(tmp_path, own, limits) == least


def test_a_system_without_control_groups_has_no_limit(tmp_path):
    assert container_memory(tmp_path, tmp_path / "own") is None


def test_a_run_that_fits_the_machine_but_not_the_container_is_refused(monkeypatch):
    config = dataclasses.replace(PRESETS["sinusoid"], hidden=(10_000, 10_000), tasks=2)
    monkeypatch.setattr(memory, "machine_memory", lambda: 25 * 10**9)
    monkeypatch.setattr(memory, "container_memory", lambda: None)
    check_memory(config, 2, 10)
    monkeypatch.setattr(memory, "container_memory", lambda: 5 * 10**8)
    with pytest.raises(UserError, match=r"at least 1\.2 GB of memory; this container may use 0\.5 GB$"):
        check_memory(config, 2, 10)
