"""Labelled tasks of the user's own: anything that draws tasks and their examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.errors import UserError, made
from metarl.fewshot.shots import Examples, Shots, numbers
from metarl.seeding import Split, sample_split

MEMBERS = ("sample_tasks", "examples")
"""What a source of the user's has."""
EXAMPLES = ("inputs", "targets")
"""What `examples` returns."""


class TaskSource(Protocol):
    """A distribution of supervised tasks, drawn one task at a time."""

    def sample_tasks(self, n: int, rng: np.random.Generator) -> NDArray[Any]:
        """Return n tasks, `[n, d]`; it may take a `split` besides, "train", "validation" or "test"."""
        ...

    def examples(self, task: NDArray[Any], n: int, rng: np.random.Generator) -> tuple[Any, Any]:
        """Return n examples of a task `[d]`: inputs `[n, ...]`, targets `[n, o]`; or n of each class, and classes."""
        ...


def is_source(thing: Any) -> bool:
    """Return whether this, a class or an object, is a source of labelled tasks."""
    return all(callable(getattr(thing, name, None)) for name in MEMBERS)


def made_source(given: Any) -> TaskSource:
    """Return the object, made where a class is given.

    Raises:
        UserError: If it lacks a method.
    """
    lacking = [name for name in MEMBERS if not callable(getattr(given, name, None))]
    if lacking:
        raise UserError(
            f"data takes a name of ours, or a class with sample_tasks(n, rng) and examples(task, n, rng); "
            f"{getattr(given, '__name__', repr(given))} lacks {' and '.join(lacking)}"
        )
    return made(given)


@dataclass(frozen=True)
class OwnSource:
    """The user's tasks as a `Source` of support and query examples.

    Raises:
        UserError: If the examples of a task have other shapes than the first one's, classes out of range, or numbers
            that are not finite; says which.
    """

    given: TaskSource
    shots: int
    """Support examples a task, of each class in classification."""
    queries: int
    """Query examples a task, of each class in classification."""
    ways: int
    """Classes of a task, where the targets are classes."""
    split: Split = "train"
    """The set from which the first task is, by which the others are judged."""

    @property
    def name(self) -> str:
        """Name of the user's class."""
        return type(self.given).__name__

    @cached_property
    def first(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Inputs and targets of a task, by which the others and the network's size are judged."""
        rng = np.random.default_rng(0)
        return self._read(self.sample_tasks(1, rng, self.split)[0], rng)

    @property
    def classifies(self) -> bool:
        """Whether the targets are classes."""
        return self.first[1].ndim == 1

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        """Return n tasks, `[n, d]`."""
        drawn = sample_split(self.given.sample_tasks, n, rng, split)
        tasks = numbers(drawn, f"tasks of {self.name}.sample_tasks")
        if tasks.ndim != 2 or len(tasks) != n:
            raise UserError(f"{self.name}.sample_tasks({n}, rng) must return [{n}, d], got {list(tasks.shape)}")
        return tasks

    def draw(self, tasks: NDArray[Any], rngs: Iterable[np.random.Generator]) -> Shots:
        """Draw support and query examples of tasks `[K, d]`, each with a generator of its own."""
        drawn = [self._alike(task, *self._read(task, rng)) for task, rng in zip(tasks, rngs, strict=True)]
        x, y = (np.stack(values) for values in zip(*drawn, strict=True))
        support, query = (_batch(x[:, part], y[:, part]) for part in self._parts(y[0]))
        return Shots(support, query)

    def _read(self, task: NDArray[Any], rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        number = self.shots + self.queries
        found = self.given.examples(task, number, rng)
        if not isinstance(found, tuple | list) or len(found) != 2:
            got = f"{type(found).__name__} of {len(found)}" if isinstance(found, tuple | list) else repr(found)
            raise UserError(f"{self.name}.examples must return two things, inputs and targets; got {got}")
        x, y = (numbers(part, f"{what} of {self.name}.examples") for what, part in zip(EXAMPLES, found, strict=True))
        if y.dtype.kind in "iu":
            return x, self._classes(x, y, number)
        if y.ndim != 2 or len(y) != number or x.ndim < 2 or len(x) != number:
            raise UserError(
                f"{self.name}.examples(task, {number}, rng) must return inputs [{number}, ...] and targets "
                f"[{number}, o], or whole numbers as classes; got {list(x.shape)} and {list(y.shape)}"
            )
        return x, y

    def _classes(self, x: NDArray[Any], y: NDArray[Any], number: int) -> NDArray[np.int64]:
        """Return the classes `[ways * number]`, once there are as many of each as there should be."""
        total = self.ways * number
        if y.ndim != 1 or len(y) != total or x.ndim < 2 or len(x) != total:
            raise UserError(
                f"{self.name}.examples(task, {number}, rng) must return {number} inputs of each of {self.ways} classes "
                f"(ways), [{total}, ...], and their classes [{total}], which targets are that are whole numbers "
                f"(those of a regression are floats); got {list(x.shape)} and {list(y.shape)}"
            )
        y = y.astype(np.int64)
        found, counts = np.unique(y, return_counts=True)
        if not np.array_equal(found, np.arange(self.ways)) or (counts != number).any():
            got = ", ".join(f"{count} of class {kind}" for kind, count in zip(found, counts, strict=True))
            raise UserError(
                f"{self.name}.examples must return {number} of each class from 0 to {self.ways - 1}, got {got}"
            )
        return y

    def _alike(self, task: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the examples, those of a class together, once they are of the same shapes as the first task's."""
        shapes = tuple([*x.shape[1:]] for x in self.first), tuple([*v.shape[1:]] for v in (x, y))
        if shapes[0] != shapes[1] or y.ndim != self.first[1].ndim:
            raise UserError(
                f"{self.name}.examples: an input and a target of task {task.tolist()} have the shapes {shapes[1]}, "
                f"those of another task {shapes[0]}"
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise UserError(f"{self.name}.examples: those of task {task.tolist()} are not all finite")
        if y.ndim == 1:
            order = y.argsort(kind="stable")
            return x[order], y[order]
        return x, y

    def _parts(self, y: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which examples are support and which query: the first of each class, or of all, and the others."""
        number = self.shots + self.queries
        rows = np.arange(len(y)).reshape(-1, number)
        return rows[:, : self.shots].ravel(), rows[:, self.shots :].ravel()


def _batch(x: NDArray[Any], y: NDArray[Any]) -> Examples:
    """Return the examples as tensors, in torch's default precision; classes stay whole numbers."""
    kind = torch.get_default_dtype()
    targets = torch.from_numpy(y)
    return Examples(torch.from_numpy(x).to(kind), targets if y.ndim == 2 else targets.to(kind))
