"""Whether a run fits into this machine's memory, as far as its settings tell before anything is allocated."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TypeGuard

from metarl.errors import UserError
from metarl.experiment.config import Config, FewShotConfig
from metarl.fewshot.images import SIDE

NUMBER = 4
"""Bytes of a number in single precision."""
A_STEP = 6
"""Numbers kept of a time step at least: observation, action, reward, mask, log-probability, advantage."""


def check_memory(config: Config | FewShotConfig, tasks: int, each: int, own_policy: bool = False) -> None:
    """Refuse sizes that take more memory than this machine has, even by the least that they can take.

    Args:
        config: The configuration.
        tasks: Tasks at a time.
        each: Episodes in each of them; on supervised tasks, the examples that judge (of each class).
        own_policy: Whether the policy is the user's, of a size that no setting tells.

    Raises:
        UserError: If they do; says how much they would take.
    """
    net = 0 if own_policy else least_params(config)
    copies = 1 + (0 if config.method.remembers else tasks)  # each task adapts params of its own
    if isinstance(config, FewShotConfig):
        numbers = (config.shots + each) * (config.ways * SIDE**2 if config.pictures else 2)
        sizes = f"tasks={tasks}, shots={config.shots}, queries={each}"
    else:
        numbers = each * (config.horizon or 1) * A_STEP
        sizes = f"tasks={tasks}, episodes={each}" + f", horizon={config.horizon}" * (config.horizon is not None)
    need, there = NUMBER * (copies * net + tasks * numbers), machine_memory()
    if there is not None and need > there:
        width = f"filters={config.filters}" if _is_conv(config) else f"hidden={config.hidden}"
        raise UserError(
            f"{sizes} and {width} would take at least {_gigabytes(need)} of memory; "
            f"this machine has {_gigabytes(there)}"
        )


def least_params(config: Config | FewShotConfig) -> int:
    """Return how many params the network has at least: a single number may go in and come out."""
    if _is_conv(config):
        return 9 * config.filters * (1 + 3 * config.filters)
    seen = SIDE**2 if isinstance(config, FewShotConfig) and config.pictures else 1
    return sum(before * width + width for before, width in pairwise((seen, *config.hidden))) + sum(config.hidden[-1:])


def machine_memory() -> int | None:
    """Return the bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _is_conv(config: Config | FewShotConfig) -> TypeGuard[FewShotConfig]:
    return isinstance(config, FewShotConfig) and config.network == "conv"


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.0f} GB"
