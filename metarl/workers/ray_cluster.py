"""Ray itself: started on this machine, or found elsewhere, without a word on the terminal."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import tempfile
import threading
import warnings
from typing import Any

from metarl.errors import UserError, did_you_mean
from metarl.threads import cpus

OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory; all that lies there are a few flat vectors."""
CLIENT_PORT = 10001
"""Ray's own default."""
CONNECT_SECONDS = 5.0

_users: set[int] = set()
"""Who uses the Ray that was started here; when the last one leaves, it ends."""


def check_workers(workers: int | str, tasks: int, device: str) -> None:
    """Refuse what cannot be the setting `workers`.

    Raises:
        UserError: If it is neither `local`, `auto`, `ray://HOST[:PORT]` nor a number from 1 to that of the
            tasks, or the device is not the CPU.
    """
    known = "local, auto, ray://HOST[:PORT] or a number"
    if isinstance(workers, str) and workers not in ("local", "auto") and not re.fullmatch(r"ray://[^\s/]+", workers):
        raise UserError(f"workers must be {known}, got {workers!r}{did_you_mean(workers, ('local', 'auto'))}")
    if isinstance(workers, int) and not 1 <= workers <= tasks:
        raise UserError(f"workers must be 1 to {tasks}, the number of tasks, got {workers}; or {known}")
    if workers != "local" and device != "cpu":
        raise UserError(f"Ray's workers compute on the CPU, got device {device!r}")


def connect(where: int | str, user: object) -> Any:
    """Return the module `ray`, connected; where this process is connected already, that stays.

    Args:
        where: A number of workers on this machine, `auto` or `ray://HOST[:PORT]`.
        user: Who will `disconnect`.

    Raises:
        UserError: If Ray is not installed, the cluster cannot be reached, or Ray's folder is none that it can use.
    """
    ray = import_ray(local=isinstance(where, int))
    address = _client_address(where) if isinstance(where, str) and where != "auto" else "auto"
    if ray.is_initialized():
        if _users:
            _users.add(id(user))
        return ray
    before = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if isinstance(where, int):
            here = {"num_cpus": max(cpus(), where), "object_store_memory": OBJECT_STORE, "include_dashboard": False}
            ray.init(address="local", **here, **quiet)
            _users.add(id(user))
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UserError(f"workers {where!r}: no Ray cluster answers ({_reason(error)})") from error
    except OSError as error:  # its folder cannot be written, or is too long a name for sockets
        folder = os.environ.get("RAY_TMPDIR", tempfile.gettempdir())
        raise UserError(f"Ray cannot start in the folder {folder!r} (RAY_TMPDIR): {_reason(error)}") from error
    except SystemExit as stop:  # how Ray answers SIGTERM while it starts, with the number of the signal
        raise SystemExit(128 + signal.SIGTERM if stop.code == signal.SIGTERM else stop.code) from stop
    finally:
        if threading.current_thread() is threading.main_thread():  # SIGTERM means what it meant without Ray
            signal.signal(signal.SIGTERM, before)
    return ray


def disconnect(user: object) -> None:
    """End the Ray that was started here, if this was its last user."""
    if id(user) in _users:
        _users.remove(id(user))
        if not _users:
            import ray

            ray.shutdown()


def import_ray(local: bool) -> Any:
    """Import Ray, which reads these settings once, then."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns of a change to come
        "RAY_NUM_REDIS_GET_RETRIES": "1",  # else it looks for a dead cluster for a quarter of an hour
    }
    if local:  # every address is 127.0.0.1, as it is on a Mac
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError("--workers needs Ray: pip install 'metarl-toolkit[ray]'") from error
    warnings.filterwarnings("ignore", module=r"ray\.util\.client")  # counts calls, to teach how to use Ray
    return ray


def _client_address(where: str) -> str:
    """Return the address with its port, once something answers there: Ray itself would try for minutes."""
    host, port = re.fullmatch(r"ray://(.+?)(?::(\d+))?", where).groups()  # type: ignore[union-attr]
    port = int(port or CLIENT_PORT)
    try:
        socket.create_connection((host.strip("[]"), port), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"workers {where!r}: nothing answers at {host}:{port} ({error})") from error
    return f"ray://{host}:{port}"


def _reason(error: Exception) -> str:
    """Return what an error of Ray's says in one line, with a hint where a missing token looks like silence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    silent = "timeout" in reason and os.environ.get("RAY_AUTH_MODE") != "token"
    return f"{reason}; if it asks for a token, set RAY_AUTH_MODE=token" if silent else reason
