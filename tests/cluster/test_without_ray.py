"""Bad input to `--workers`, and life without Ray."""

import sys

import pytest
from runs import TINY, on

from metarl import UserError
from metarl.cli import main
from metarl.experiment.config_file import as_dict, differences, from_dict
from metarl.experiment.trainer import Trainer
from metarl.workers.ray_actor import shares


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ("0", "workers must be 1 to 20, the number of tasks, got 0"),
        ("-1", "workers must be 1 to 20, the number of tasks, got -1"),
        ("21", "workers must be 1 to 20, the number of tasks, got 21"),
        ("atuo", "workers must be local, auto, ray://HOST[:PORT] or a number, got 'atuo'; did you mean 'auto'?"),
        ("ray://", "workers must be local, auto, ray://HOST[:PORT] or a number, got 'ray://'"),
    ],
)
def test_bad_numbers_and_addresses(workers, said, capsys):
    assert main(["train", "point-navigation", "--workers", workers]) == 2
    assert capsys.readouterr().err.startswith(f"metarl: {said}")


def test_ray_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["train", "point-navigation", "--workers", "2"]) == 2
    assert capsys.readouterr().err == "metarl: --workers needs Ray: pip install 'metarl-toolkit[ray]'\n"


def test_nothing_answers():
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(UserError, match=r"^workers 'ray://127.0.0.1:9': nothing answers at 127.0.0.1:9 \("):
        Trainer(on("ray://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ray client connection timeout", r"timeout; if it asks for a token, set RAY_AUTH_MODE=token\)$"),
        (
            "Initialization failure from server:\nTraceback\n  line 1\nRuntimeError: no room",
            r"server: RuntimeError: no room\)$",
        ),
    ],
)
def test_what_ray_says_of_a_cluster_that_will_not_have_us(error, said, monkeypatch):
    """Its words, seen on a cluster with a token and on a busy one."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")

    def refuse(**how):
        raise ConnectionError(error)

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match=r"^workers 'auto': no Ray cluster answers \(.*" + said):
        Trainer(on("auto"))


def test_a_device_other_than_the_cpu_is_refused():
    with pytest.raises(UserError, match=r"^Ray's workers compute on the CPU, got device 'cuda'"):
        on(2, device="cuda")


def test_workers_may_change_when_a_run_is_resumed():
    assert differences(TINY, on(3, worker_timeout=5.0)) == []
    assert from_dict(as_dict(on("ray://head:1"))).workers == "ray://head:1"


def test_shares_are_contiguous_and_even():
    assert shares(7, 3) == [[0, 1, 2], [3, 4], [5, 6]]
