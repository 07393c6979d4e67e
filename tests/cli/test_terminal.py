"""What a run shows: the bar on a terminal and in a notebook, and lines elsewhere."""

import io
import re
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress

from metarl.experiment import terminal
from metarl.experiment.terminal import Terminal

NUMBERS = {"meta/return_step0": -123.45, "meta/return_step1": -101.25, "meta/return_step2": -99.9, "time/fps": 1234.0}
CURVE = {f"eval/return_step{k}": -100.0 - k for k in range(11)}


def feed(shown, total):
    for iteration in range(1, total + 1):
        evaluated = CURVE if iteration == 2 else {}
        shown.write({**NUMBERS, **evaluated, "time/iterations": iteration}, {}, step=1000 * iteration)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_bar_its_counter_and_the_time_left_stay_beside_the_numbers(width):
    file = io.StringIO()
    shown = Terminal(300, "half-cheetah-vel", Console(file=file, force_terminal=True, width=width))
    feed(shown, 3)
    shown.close()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).rpartition("\r")[2].splitlines()
    bar, held_out = (line.rstrip() for line in last)
    assert re.fullmatch(r"half-cheetah-vel \S*━{8,}.* +3/300 0:00:\d\d \S+ return -123\.5 -> -99\.9", bar)
    assert held_out == "held-out -100.0 -> -101.0 -> ... -> -110.0"
    assert max(map(len, last)) <= width


def test_a_long_name_leaves_room_for_the_bar():
    file = io.StringIO()
    shown = Terminal(3, "metarl/AnEnvironmentWithAVeryLongName-v0", Console(file=file, force_terminal=True, width=80))
    feed(shown, 3)
    shown.close()
    assert "━" * 8 in file.getvalue() and "3/3" in file.getvalue()


def test_lines_where_nobody_watches():
    file = io.StringIO()
    feed(Terminal(2, "tiny", Console(file=file)), 2)
    first, second, evaluated = file.getvalue().splitlines()
    assert first == "iteration 1/2  steps 1,000  return -123.5 -> -101.2 -> -99.9  1,234 steps/s"
    assert second == first.replace("1/2", "2/2").replace("1,000", "2,000")
    assert evaluated == "held-out -100.0 -> -101.0 -> ... -> -110.0"


@pytest.mark.parametrize(
    ("returns", "said"),
    [((-0.94, -0.9), "-0.94 -> -0.90"), ((0.5, 9.99), "0.50 -> 9.99"), ((-12.34, -0.94), "-12.3 -> -0.9")],
)
def test_small_returns_have_a_decimal_more(returns, said):
    file = io.StringIO()
    numbers = {f"meta/return_step{step}": value for step, value in enumerate(returns)}
    Terminal(1, "tiny", Console(file=file)).write({**numbers, "time/iterations": 1, "time/fps": 1.0}, {}, step=1)
    assert f"return {said}  " in file.getvalue()


def test_a_notebook_has_a_bar_of_its_own(monkeypatch):
    pages = []
    handle = SimpleNamespace(update=lambda data, raw: pages.append(data))

    def display(data, raw, display_id):
        assert raw and display_id
        pages.append(data)
        return handle

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setattr(terminal, "Live", None)
    monkeypatch.setattr(Progress, "start", None)
    shown = Terminal(2, "tiny", Console(force_jupyter=True, width=100))
    feed(shown, 2)
    shown.close()
    assert len(pages) == 3
    assert pages[-1]["text/plain"].startswith("tiny 2/2  return -123.5 -> -99.9  held-out")
    assert pages[-1]["text/html"].startswith("<progress value=2 max=2></progress> tiny 2/2")
