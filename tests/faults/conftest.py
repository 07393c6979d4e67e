"""The table of faults: what every test here observed, written where METARL_FAULTS says."""

import os
from pathlib import Path

import pytest

OBSERVED: list[tuple[str, str]] = []


@pytest.fixture
def observe(tmp_path):
    """Note a fault and what was observed after it."""

    def note(fault: str, outcome: str) -> None:
        OBSERVED.append((fault, outcome.strip().replace(str(tmp_path), "DIR").replace("\n", "").replace("|", "/")))

    return note


def pytest_sessionfinish(session, exitstatus):
    if "METARL_FAULTS" not in os.environ or exitstatus:
        return
    rows = [f"| {fault} | {outcome} |" for fault, outcome in OBSERVED]
    head = ["# Faults provoked, and what was observed", "", "Written by `make faults`, a row a test.", ""]
    text = "\n".join([*head, "| fault | observed |", "|---|---|", *rows, ""])
    (Path(__file__).parents[2] / os.environ["METARL_FAULTS"]).write_text(text)
