"""Whether a run fits into this machine's memory, as far as its settings tell before anything is allocated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from metarl.errors import UserError

if TYPE_CHECKING:
    from metarl.experiment.base_config import Settings

NUMBER = 4
"""Bytes of a number in single precision."""


def check_memory(config: Settings, tasks: int, judging: int, own_policy: bool = False) -> None:
    """Refuse sizes that take more memory than there is, even by the least that they can take.

    Args:
        config: The configuration.
        tasks: Tasks at a time.
        judging: Data that judge each of them: episodes, or examples (of each class).
        own_policy: Whether the policy is the user's, of a size that no setting tells.

    Raises:
        UserError: If they do; says how much they would take.
    """
    net = 0 if own_policy else config.least_params
    copies = 1 + (0 if config.method.remembers else tasks)  # each task adapts params of its own
    need, there = NUMBER * (copies * net + tasks * config.least_data(judging)), machine_memory()
    if there is not None and need > there:
        raise UserError(
            f"{config.sizes(tasks, judging)} would take at least {_gigabytes(need)} of memory; "
            f"this machine has {_gigabytes(there)}"
        )


def machine_memory() -> int | None:
    """Return the bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.0f} GB"
