"""A lock on a run directory, which the operating system takes away from a process that dies."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from metarl.errors import UserError, warn

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import msvcrt
except ImportError:  # everywhere else
    msvcrt = None

FAR = 2**30
"""Which byte Windows locks: beyond the text, which others could not read otherwise."""

NAME = "run.lock"
"""The file that is locked; it says who holds it, and is gone at the end."""

_held: set[tuple[int, int, int]] = set()
"""Process, device and inode of the folders locked here: the operating system's lock is between processes alone."""


class Lock:
    """A lock on a folder, held until `release` or the end of this process, however it comes.

    It is POSIX's, which children that are forked do not inherit and NFS knows; on Windows that of `msvcrt`.

    Args:
        folder: The folder.

    Raises:
        UserError: If a process holds it (says which), or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / NAME
        status = os.stat(folder)
        self._key = (os.getpid(), status.st_dev, status.st_ino)
        if self._key in _held:
            raise UserError(f"{str(folder)!r} is in use by another model or training of this process")
        self._descriptor = self._locked()
        _held.add(self._key)
        if self._descriptor is not None:
            with suppress(OSError):  # a full disk: then it does not say who holds it
                os.ftruncate(self._descriptor, 0)
                started = time.strftime("%Y-%m-%d %H:%M:%S")
                who = f"process {os.getpid()} on {socket.gethostname()} since {started}\n"
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, who.encode())

    def _locked(self) -> int | None:
        """Return the descriptor of the locked file; None where the file system knows no locks."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        while True:
            try:
                descriptor = os.open(self.file, flags, 0o644)
            except OSError as error:
                raise UserError(f"cannot write {str(self.file)!r}: {error.strerror}") from error
            try:
                _lock(descriptor)
                if self._is_there(descriptor):
                    return descriptor
            except (BlockingIOError, PermissionError) as error:
                os.lseek(descriptor, 0, os.SEEK_SET)
                who = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                raise UserError(f"{str(self.file.parent)!r} is in use by {who}") from error
            except OSError as error:
                warn(f"no lock on {str(self.file.parent)!r}: {error.strerror}")
                os.close(descriptor)
                return None
            os.close(descriptor)  # whoever held it has removed it in between

    def _is_there(self, descriptor: int) -> bool:
        """Return whether the file that was opened is still that of this name."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.file))
        except FileNotFoundError:
            return False

    def release(self, folder: Path) -> None:
        """Let others have the folder, wherever it is by now."""
        _held.discard(self._key)
        if self._descriptor is None:
            return
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), os.stat(folder / NAME)):
                os.unlink(folder / NAME)  # Windows removes no file that is open; a lock that nobody holds does no harm
        os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file, or raise at once: PermissionError or BlockingIOError where another process holds it."""
    if fcntl is not None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


class Hold:
    """A lock on a folder, and the folder itself, wherever it is moved.

    Args:
        path: The folder.

    Raises:
        UserError: As `Lock`, or if the folder cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.folder = os.open(path, os.O_RDONLY) if hasattr(os, "O_DIRECTORY") else None  # Windows opens no folders
        except OSError as error:
            raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from error
        try:
            self.status, self.lock = os.stat(path), Lock(path)  # the lock last: it would stay
        except BaseException:
            if self.folder is not None:
                os.close(self.folder)
            raise

    def is_at(self, path: Path) -> bool:
        """Return whether the folder is there."""
        try:
            status = self.status if self.folder is None else os.fstat(self.folder)
            return os.path.samestat(status, os.stat(path))
        except OSError:
            return False

    def where(self) -> Path | None:
        """Return where the folder is now; None if it is gone or the system does not tell."""
        try:
            found = Path(os.readlink(f"/proc/self/fd/{self.folder}"))
        except OSError:
            return None
        return found if self.is_at(found) else None

    def release(self, path: Path) -> None:
        """Let others have it."""
        self.lock.release(path)
        if self.folder is not None:
            os.close(self.folder)
