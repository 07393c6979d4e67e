"""Gymnasium's AsyncVectorEnv in processes that begin clean and end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

import cloudpickle
import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from metarl.errors import UserError

START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How processes start. A fork of this one would lack the threads of torch and of the physics, and wait for them."""

PRELOAD = ["torch", "gymnasium", "metarl.rl.environments"]
"""What the server of processes imports once, for all of them."""


def in_processes(make: Callable[[], gymnasium.Env], num_envs: int, mode: AutoresetMode) -> AsyncVectorEnv:
    """Make environments in a process each.

    Args:
        make: Makes one.
        num_envs: How many.
        mode: What becomes of a row whose episode ends.

    Raises:
        UserError: If what makes them cannot be sent to another process.
    """
    one = InProcess(make, multiprocessing.current_process().pid or 0)
    try:
        cloudpickle.dumps(one)
    except Exception as error:  # whatever the user's objects raise
        raise UserError(
            f"the environment cannot be sent to a process ({type(error).__name__}: {error}); "
            "make it from what can be pickled, or use vectorization sync"
        ) from error
    if START == "forkserver":
        multiprocessing.set_forkserver_preload(PRELOAD)  # without effect where the server runs already
    with _script_not_run_again():
        return AsyncVectorEnv([one] * num_envs, autoreset_mode=mode, context=START)


@dataclass(frozen=True)
class InProcess:
    """Makes one environment, in the process where it will live."""

    make: Callable[[], gymnasium.Env]
    parent: int

    def __call__(self) -> gymnasium.Env:
        """Make it; where this is another process, that ends with the one which started it."""
        if os.getpid() == self.parent:  # Gymnasium makes one here, to look at its spaces
            return self.make()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            return Portable(self.make())
        except Exception as error:
            raise portable(error) from error


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, whatever the environment is doing, and end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


class Portable(gymnasium.Wrapper):
    """Raises only what the other process can read: an error of a class that it does not know would be lost."""

    def reset(self, **kwargs: Any) -> Any:
        """Reset the environment."""
        try:
            return self.env.reset(**kwargs)
        except Exception as error:
            raise portable(error) from error

    def step(self, action: Any) -> Any:
        """Step the environment."""
        try:
            return self.env.step(action)
        except Exception as error:
            raise portable(error) from error


def portable(error: Exception) -> Exception:
    """Return an error, or one that says the same, as a pickle holds it."""
    try:
        pickle.loads(pickle.dumps(error))
        if type(error).__module__ != "__main__":
            return error
    except Exception:  # whatever its class does
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")


@contextmanager
def _script_not_run_again() -> Iterator[None]:
    """Keep new processes from importing the user's script, which may not expect it and train once more.

    What it defines travels by value.
    """
    main: Any = sys.modules["__main__"]
    before = {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(before)
