"""Whether a run fits into this machine's memory, as far as its settings tell before anything is allocated."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from metarl.errors import UserError

if TYPE_CHECKING:
    from metarl.experiment.base_config import Settings

GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux shows control groups, and those of this process."""
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
    check_fits(NUMBER * (copies * net + tasks * config.least_data(judging)), config.sizes(tasks, judging))


def check_fits(need: int, what: str) -> None:
    """Refuse what takes more bytes than there are.

    Raises:
        UserError: If it does; says how many gigabytes it would take.
    """
    for there, words in ((machine_memory(), "this machine has"), (container_memory(), "this container may use")):
        if there is not None and need > there:
            raise UserError(f"{what} would take at least {_gigabytes(need)} of memory; {words} {_gigabytes(there)}")


def machine_memory() -> int | None:
    """Return the bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def container_memory(groups: Path = GROUPS, own: Path = OWN_GROUPS) -> int | None:
    """Return the bytes that control groups let this process use, as containers and Slurm set them; None for any number.

    Version 2 has one hierarchy (`0::PATH` and `memory.max`), version 1 one for memory alone (`4:memory:PATH` and
    `memory.limit_in_bytes`). The limits of all groups above hold too. Inside a container a path may be that of the
    host, of which only the container's own group is to be seen, as the root.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:  # no Linux
        return None
    limits = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, file = (groups / "memory", "memory.limit_in_bytes") if controllers else (groups, "memory.max")
        group = PurePosixPath(path.lstrip("/"))
        for above in (group, *group.parents):
            with suppress(OSError, ValueError):  # no such group here, or "max"
                limits.append(int((folder / above / file).read_text()))
    return min(limits, default=None)


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.{0 if number >= 1e10 else 1}f} GB"
