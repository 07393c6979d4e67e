"""Environments in a few processes, each of which steps some of them; they begin clean and end with this one."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver, resource_tracker
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import CloudpickleWrapper, batch_space, create_shared_memory, read_from_shared_memory
from numpy.typing import NDArray

from metarl.errors import UserError
from metarl.threads import cpus_of_environments

START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How processes start. A fork of this one would lack the threads of torch and of the physics, and wait for them."""

PRELOAD = ["torch", "gymnasium", "metarl.rl.environments"]
"""What the server of processes imports once, for all of them."""

SENT_TO_ALL = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that a terminal or a scheduler sends to all processes of a run."""

PATIENCE = 10.0
"""Seconds that environments have to close."""


@dataclass
class Block:
    """A process, and the rows whose environments live in it."""

    process: Any
    pipe: connection.Connection
    rows: range
    memory: NDArray[Any]
    """Observations of these rows `[n, ...]`, which both sides see."""
    owner: Any
    """What the memory belongs to."""
    owed: int = 1
    """Answers that have not come yet: to begin with, that the environments are made."""

    def __str__(self) -> str:
        """Name the rows."""
        first, last = self.rows[0], self.rows[-1]
        return f"row {first}" if first == last else f"rows {first} to {last}"


class InProcesses(VectorEnv):
    """Environments in processes, each of which steps a block of rows in Gymnasium's SyncVectorEnv.

    Same results as one SyncVectorEnv of all rows. Observations come through shared memory. Gymnasium's AsyncVectorEnv
    has a process for each row instead, hundreds of them where a meta-iteration has as many episodes.

    Args:
        make: Makes one environment.
        like: One that is made already, which tells the spaces.
        num_envs: Number of rows.
        mode: What becomes of a row whose episode ends.
        processes: At most so many; by default as many as there are CPUs.

    Raises:
        UserError: If what makes them cannot be sent to another process, or a process dies.
    """

    def __init__(
        self,
        make: Callable[[], gymnasium.Env],
        like: gymnasium.Env,
        num_envs: int,
        mode: AutoresetMode,
        processes: int | None = None,
    ) -> None:
        try:
            cloudpickle.dumps(make)
        except Exception as error:  # whatever the user's objects raise
            raise UserError(
                f"the environment cannot be sent to a process ({type(error).__name__}: {error}); "
                "make it from what can be pickled, or use vectorization sync"
            ) from error
        self.like, self.num_envs, self.blocks = like, num_envs, list[Block]()
        self.metadata = {**like.metadata, "autoreset_mode": mode}
        self.single_observation_space, self.single_action_space = like.observation_space, like.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        shares = np.array_split(np.arange(num_envs), min(num_envs, processes or cpus_of_environments()))
        with _script_not_run_again():
            for share in shares:
                self.blocks.append(_start(make, like, range(share[0], share[-1] + 1), mode))
        try:
            self._answers("while the environment was made in it")
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> list[Any]:
        """The processes, in the order of their rows."""
        return [block.process for block in self.blocks]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all environments, or those of `options["reset_mask"]`, row i with `seed + i` or `seed[i]`."""
        if not isinstance(seed, Sequence | np.ndarray):
            seed = [None if seed is None else seed + row for row in range(self.num_envs)]
        mask = (options or {}).get("reset_mask")
        arguments: list[tuple[Any, ...] | None] = []
        for block in self.blocks:
            rows = slice(block.rows.start, block.rows.stop)
            own = options if mask is None else {**(options or {}), "reset_mask": mask[rows]}
            asked = mask is None or mask[rows].any()
            arguments.append((list(seed[rows]), own) if asked else None)
        infos = self._ask("reset", arguments)
        return self._observations(), self._joined([info or {} for info in infos])

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all environments."""
        answers = self._ask("step", [(actions[b.rows.start : b.rows.stop],) for b in self.blocks])
        rewards, terminated, truncated, infos = zip(*answers, strict=True)
        ends = np.concatenate(terminated), np.concatenate(truncated)
        return self._observations(), np.concatenate(rewards), *ends, self._joined(infos)

    def set_attr(self, name: str, values: Sequence[Any]) -> None:
        """Set an attribute of each environment."""
        self._ask("set_attr", [(name, list(values[b.rows.start : b.rows.stop])) for b in self.blocks])

    def close_extras(self, **kwargs: Any) -> None:
        """End all processes: those that do not answer at once, the others when their environments are closed."""
        for block in self.blocks:
            with suppress(ConnectionError):
                block.process.kill() if block.owed else block.pipe.send(("close", ()))
        for block in self.blocks:
            block.process.join(PATIENCE)
            block.process.kill()
            block.process.join()
            block.pipe.close()

    def _ask(self, what: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """Have each process do this with its arguments, all at a time; returns their answers.

        A process whose arguments are None is not asked, and its answer is None.
        """
        with self._alive():
            for block, args in zip(self.blocks, arguments, strict=True):
                if args is not None:
                    block.pipe.send((what, args))
                    block.owed += 1
        return self._answers()

    def _answers(self, when: str = "") -> list[Any]:
        answers = []
        for block in self.blocks:
            fine, answer = True, None
            while block.owed:  # the last counts: those before it belong to what was interrupted
                with self._alive(when):
                    fine, answer = block.pipe.recv()
                block.owed -= 1
            answers.append((fine, answer))
        for fine, answer in answers:
            if not fine:
                raise answer
        return [answer for _, answer in answers]

    @contextmanager
    def _alive(self, when: str = "") -> Iterator[None]:
        """Say which process is gone, where one is."""
        try:
            yield
        except (EOFError, ConnectionError) as error:
            for process in self.processes:
                process.join(timeout=0.1)  # one that dies shuts its pipe a moment before
            dead = [block for block in self.blocks if not block.process.is_alive()]
            died = when or ": " + ", ".join(f"that of {b} with exit code {b.process.exitcode}" for b in dead)
            raise UserError(f"a process of {self.like.unwrapped} died{' ' * bool(when)}{died}") from error

    def _observations(self) -> NDArray[Any]:
        return np.concatenate([block.memory for block in self.blocks])

    def _joined(self, infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return joined(infos, [len(block.rows) for block in self.blocks])


def joined(infos: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Return the infos of several vector environments, of so many rows each, as one has them.

    A row that lacks an entry has 0, False or None there, and False in the mask that Gymnasium keeps beside it.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for info in infos for name in info):
        values = [info.get(name) for info in infos]
        example = next(value for value in values if value is not None)
        if isinstance(example, dict):
            found[name] = joined([value or {} for value in values], sizes)
            continue
        nothing = None if example.dtype == object else 0
        blank = [np.full((size, *example.shape[1:]), nothing, example.dtype) for size in sizes]
        found[name] = np.concatenate([b if value is None else value for b, value in zip(blank, values, strict=True)])
    return found


def _start(make: Callable[[], gymnasium.Env], like: gymnasium.Env, rows: range, mode: AutoresetMode) -> Block:
    """Start the process of some rows."""
    context: Any = multiprocessing.get_context(START)
    if START == "forkserver":
        context.set_forkserver_preload(PRELOAD)  # without effect where the server runs already
        _start_server()
    space = like.observation_space
    memory: Any = create_shared_memory(space, len(rows), context)
    ours, theirs = context.Pipe()
    args = (theirs, CloudpickleWrapper(make), len(rows), mode, memory)
    process: Any = context.Process(target=_serve, args=args, daemon=True)
    process.start()
    theirs.close()
    seen: Any = read_from_shared_memory(space, memory, len(rows))
    return Block(process, ours, rows, seen, memory)


def _start_server() -> None:
    """Start what starts processes, deaf to what a terminal or a scheduler sends to all of them: the first decides."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        for server in (resource_tracker, forkserver):
            signal.pthread_sigmask(signal.SIG_BLOCK, SENT_TO_ALL)  # the tracker's start opens two of them again
            server.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: connection.Connection, make: Any, rows: int, mode: AutoresetMode, memory: Any) -> None:
    """Do in a process of its own what is asked through the pipe."""
    if START == "forkserver":
        os.setpgrp()  # what is sent to all processes of a run reaches this one no more
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT_TO_ALL)
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        env = SyncVectorEnv([make.fn] * rows, autoreset_mode=mode, copy=False)
    except Exception as error:
        pipe.send((False, portable(error)))
        return
    seen: Any = read_from_shared_memory(env.single_observation_space, memory, rows)
    pipe.send((True, None))
    args: Any
    while True:
        try:
            what, args = pipe.recv()
        except EOFError:  # the first process is gone, and nobody asks any more
            what, args = "close", ()
        try:
            if what == "close":
                env.close()
                return
            if what == "set_attr":
                answer: Any = env.set_attr(*args)
            elif what == "reset":
                seen[...], answer = env.reset(seed=args[0], options=args[1])
            else:
                seen[...], *answer = env.step(*args)
            pipe.send((True, answer))
        except Exception as error:
            pipe.send((False, portable(error)))


def _end_with_parent() -> None:
    """Wait for the end of the process that started this one, whatever the environment is doing, and end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def portable(error: Exception) -> Exception:
    """Return an error, or one that says the same, as a pickle holds it; a note has the lines that it comes from."""
    lines = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
        if type(error).__module__ == "__main__":
            raise TypeError("the other process does not have this class")
    except Exception:  # whatever its class does
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In a process of the environment:\n{lines}")
    return error


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
