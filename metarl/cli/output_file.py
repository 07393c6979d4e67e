"""Where a command may write what it makes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from metarl.errors import UserError
from metarl.experiment.checkpoint import check_no_device
from metarl.experiment.own_files import check_output


def output_file(out: Path | None) -> Any:
    """Return where to write, wherever an environment goes; refuse where nothing can be written before all the work.

    Raises:
        UserError: If there is no such folder or it may not be written, the file is a folder or a device itself, or it
            would replace a run's own file.
    """
    if out is None:
        return None
    typed = out.absolute()
    out = out.resolve() if out.is_symlink() else typed  # a link stays, and what it points to is written
    if not out.parent.is_dir():
        raise UserError(f"cannot write {str(out)!r}: {str(out.parent)!r} is no folder")
    if out.is_dir():
        raise UserError(f"cannot write {str(out)!r}: it is a folder")
    check_no_device(out)
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"cannot write {str(out)!r}: {os.strerror(errno.EACCES)}")
    check_output(typed)
    return out


def named(file: Path) -> Path:
    """Return a file's path as it is typed in this folder."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
