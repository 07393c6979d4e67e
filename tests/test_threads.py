"""Calls side by side: answers in order, one thread of torch each, errors and signals."""

import threading
import time

import pytest
import torch

from metarl.threads import side_by_side


def test_answers_come_in_order_and_torch_has_one_thread_in_each():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = side_by_side([lambda i=i: (i, torch.get_num_threads(), threading.get_ident()) for i in range(4)])
        assert [(i, n) for i, n, _ in found] == [(i, 1) for i in range(4)]
        assert found[0][2] == threading.get_ident() and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_is_raised_when_all_have_ended(bad):
    ended = []

    def fails():
        raise ValueError("no")

    calls = [lambda: (time.sleep(0.05), ended.append(True)), fails]
    with pytest.raises(ValueError, match="no"):
        side_by_side(calls if bad else calls[::-1])
    assert ended


def test_an_interruption_ends_the_others_too():
    def interrupted():
        time.sleep(0.02)
        raise KeyboardInterrupt

    def endless():
        while True:
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        side_by_side([interrupted, endless, endless])
    assert threading.active_count() < 10
