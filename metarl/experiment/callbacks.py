"""What goes on around a run's loop: our own callbacks, on the interface that users get."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from metarl.errors import UserError, check_takes, made
from metarl.evaluation import AdaptationCurve
from metarl.experiment.checkpoint import Checkpoint
from metarl.experiment.directory import RunDirectory
from metarl.experiment.signals import Interrupted, signals
from metarl.experiment.trainer import Trainer


class Callback:
    """What a run calls; any object with some of these methods will do."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first iteration."""

    def on_iteration(self, trainer: Trainer, metrics: dict[str, float]) -> bool | None:
        """After each iteration; False ends the run. What is added to the metrics is logged."""

    def on_evaluation(self, curve: AdaptationCurve) -> None:
        """After each evaluation on held-out tasks, which comes before that iteration's `on_iteration`."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last iteration, or where an error or a signal ends the run."""


EVENTS = {
    name: tuple(inspect.signature(event).parameters)[1:]
    for name, event in vars(Callback).items()
    if name.startswith("on_")
}
"""What a callback may have, and what each is called with."""


class Callbacks:
    """Several callbacks as one, called in order; at the end in reverse.

    Args:
        callbacks: Objects with some of the methods of `Callback`.

    Raises:
        UserError: As `as_callback`.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self.callbacks = [as_callback(callback) for callback in callbacks]

    @contextmanager
    def around(self, trainer: Trainer) -> Iterator[Callbacks]:
        """Call `on_start` of each, and in the end `on_end` of those that were started, whatever happens."""
        with ExitStack() as stack:
            for callback in self.callbacks:
                _call(callback, "on_start", trainer)
                stack.callback(_call, callback, "on_end", trainer)
            yield self

    def on_iteration(self, trainer: Trainer, metrics: dict[str, float]) -> bool:
        """Call all of them; returns whether none of them said False."""
        said = [_call(callback, "on_iteration", trainer, metrics) for callback in self.callbacks]
        return all(bool(answer) or not isinstance(answer, bool | np.bool_) for answer in said)

    def on_evaluation(self, curve: AdaptationCurve) -> None:
        """Call all of them."""
        for callback in self.callbacks:
            _call(callback, "on_evaluation", curve)


def _call(callback: Any, name: str, *args: Any) -> Any:
    method = getattr(callback, name, None)
    return None if method is None else method(*args)


def as_callback(thing: Any) -> Any:
    """Return a callback from an object, a class, or a function of each iteration.

    Raises:
        UserError: If it has none of the methods of `Callback`, or one that cannot be called as they are.
    """
    callback = made(thing)
    if inspect.isroutine(thing):
        callback = Callback()
        callback.on_iteration = thing  # type: ignore[method-assign]
    if not any(hasattr(callback, name) for name in EVENTS):
        raise UserError(f"{callback!r} is no callback; it needs one of {', '.join(EVENTS)}")
    for name, arguments in EVENTS.items():
        if (method := getattr(callback, name, None)) is not None:
            check_takes(f"a callback's {name}", method, *arguments)
    return callback


class KeepBest(Callback):
    """Keeps the params that are best on held-out tasks after as many steps as training takes.

    Args:
        directory: Where to save them; None only notes the return.
    """

    def __init__(self, directory: RunDirectory | None) -> None:
        self.directory = directory

    def on_start(self, trainer: Trainer) -> None:
        """Take note of the trainer."""
        self.trainer = trainer

    def on_evaluation(self, curve: AdaptationCurve) -> None:
        """Save the params if they are the best so far."""
        score, progress = curve.score(self.trainer.config.method.inner_steps), self.trainer.progress
        if score > progress.best_return:
            progress.best_return = score
            if self.directory is not None:
                self.directory.save_best(self.trainer.snapshot())


class SaveCheckpoints(Callback):
    """Saves the newest state now and then, and at the end the last iteration that was done, evaluated and logged.

    Args:
        directory: Where; None saves nothing.
    """

    def __init__(self, directory: RunDirectory | None) -> None:
        self.directory = directory

    def on_start(self, trainer: Trainer) -> None:
        """Save the beginning of a new run."""
        self.whole, self.saved_at = trainer.snapshot(), trainer.progress.iteration
        if self.directory is not None and not self.directory.checkpoints():
            self._save(trainer)

    def on_iteration(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        """Save every so many iterations."""
        self.whole: Checkpoint = trainer.snapshot()
        if trainer.progress.iteration % trainer.config.checkpoint_every == 0:
            self._save(trainer)

    def on_end(self, trainer: Trainer) -> None:
        """Save the last iteration that was whole."""
        if self.whole.state["iteration"] > self.saved_at:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if self.directory is not None:
            self.directory.save(self.whole, trainer.config.keep_checkpoints)
            self.saved_at = self.whole.state["iteration"]


class StopOnSignal(Callback):
    """Ends the run after the iteration in which a signal asked for it.

    It comes first, so that it starts before all others and ends after them: a signal waits for what they save at the
    end. What it calls `last` comes last.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Collect signals."""
        self.stack = ExitStack()
        self.caught = self.stack.enter_context(signals())

    def on_end(self, trainer: Trainer) -> None:
        """Let signals mean what they meant before."""
        self.stack.close()

    def last(self) -> Callback:
        """Return what stops the run if there was one; it comes last, after all in which one may have come."""
        callback = Callback()
        callback.on_iteration = lambda trainer, metrics: not self.caught  # type: ignore[method-assign]
        return callback

    def tell(self) -> None:
        """Say so where there was one.

        Raises:
            Interrupted: If there was.
        """
        if self.caught:
            raise Interrupted(self.caught[0])
