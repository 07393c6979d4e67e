"""Errors that are the user's to mend, the checks that find them, and calls of what the user has written."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
from typeguard import TypeCheckError, check_type


class UserError(ValueError):
    """Something the user can mend; the message says what, and the command line prints it alone."""


class HelpShown(SystemExit):
    """The help was asked for, and has been shown."""


OnNan = Literal["stop", "drop"]
"""What to do where something of a task is not finite: stop the run, or leave the task out of the meta-iteration."""


class Fault(NamedTuple):
    """Something of a task that is not finite."""

    what: str
    """Reward, observation, action, ..."""
    where: str = ""
    """The task itself, and the step."""

    def of(self, task: int) -> str:
        """Return what happened, in words."""
        return f"{self.what} is not finite in task {task}{self.where}"


class NotFinite(FloatingPointError):
    """Something is not finite; the message names the first task, by its index, and the step."""


def warn(text: str) -> None:
    """Warn of something, at the line outside this package that led to it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and Path(__file__).parent in Path(frame.f_code.co_filename).parents:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def stop_at(faults: Mapping[int, Fault], left: int | None = None) -> None:
    """Raise `NotFinite` with the first of several tasks, if there is any; with `left` 0, as no other task is left."""
    if faults:
        task = min(faults)
        raise NotFinite("no task is left: " * (left == 0) + faults[task].of(task))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean '...'?` with the nearest match, or nothing.

    A part of longer names is nearest to them: `lr` to `inner_lr` and `outer_lr`, or `Id-v0` to `metarl/Id-v0`. What
    other libraries call something is known too.
    """
    names = {_plain_name(other): other for other in known}
    typed = _plain_name(name)
    near = [ours for ours in ELSEWHERE.get(typed, ()) if ours in names]
    if typed in ELSEWHERE and not near:  # what is nearest by its letters would mislead
        return ""
    near = near or [other for other in names if typed and typed in re.split("[_/]", other)][:3]
    near = near or difflib.get_close_matches(typed, names, n=1, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(names[other]) for other in near)}?" if near else ""


def _plain_name(name: str) -> str:
    """Return a name as Python has it, of an option too."""
    return name.removeprefix("--").replace("-", "_") if name.startswith("--") else name


ELSEWHERE = {
    "gamma": ("discount",),
    "learning_rate": ("outer_lr",),
    "n_steps": ("episodes", "horizon"),
    "n_epochs": ("epochs",),
    "clip_range": ("clip",),
    "target_kl": ("max_kl",),
    "n_envs": ("tasks", "episodes"),
    "net_arch": ("hidden",),
    "policy_kwargs": ("hidden", "activation"),
    "total_timesteps": ("iterations",),
    "tensorboard_log": ("log_dir",),
    "meta_batch_size": ("tasks",),
    "adapt_lr": ("inner_lr",),
    "fast_lr": ("inner_lr",),
    "meta_lr": ("outer_lr",),
    "num_inner_steps": ("inner_steps",),
}
"""What stable-baselines3, learn2learn and others call settings of ours."""


def few(words: Sequence[str], most: int = 3) -> str:
    """Return the first few of many words in a line."""
    return ", ".join([*words[:most], *["..."] * (len(words) > most)])


def check_known(what: str, name: str, known: Iterable[str], also: str = "") -> str:
    """Return a name that is one of those known.

    Args:
        what: What is named.
        name: The name.
        known: Those there are.
        also: What else is taken, in words.

    Raises:
        UserError: If it is none of them; names the nearest.
    """
    if name in (names := list(known)):
        return name
    raise UserError(f"unknown {what} {name!r}{did_you_mean(name, names)}; there are {', '.join(names)}{also}")


def needs(what: str, error: ImportError) -> str:
    """Say which package something needs that is not installed, and where it is imported."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" (imported in {frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{what} needs {error.name!r}, which is not installed{at}"


def made(thing: Any) -> Any:
    """Return an object of the user's, made where its class is given.

    Raises:
        UserError: If the class needs arguments.
    """
    return call(thing, "give an object of it") if isinstance(thing, type) else thing


def call(maker: Callable[..., Any], hint: str, **options: Any) -> Any:
    """Return what a class or a function of the user's makes, with options or without.

    Raises:
        UserError: If it needs others; ends with the hint.
    """
    try:
        inspect.signature(maker).bind(**options)
    except TypeError as error:
        why = "needs arguments" if "missing" in str(error) else "cannot be called so"
        raise UserError(f"{getattr(maker, '__name__', maker)} {why} ({error}); {hint}") from error
    except ValueError:  # what is written in C has no signature
        pass
    return maker(**options)


def check_takes(what: str, function: Any, *arguments: str) -> None:
    """Refuse what cannot be called with so many arguments.

    Args:
        what: What the user has given.
        function: A function of the user's, or an object or a class that is one.
        *arguments: What it is called with, in words.

    Raises:
        UserError: If it cannot; says what it is called with, and what it takes.
    """
    form = f"({', '.join(arguments)})"
    if not callable(function):
        raise UserError(f"{what} must be a function of {form}, got {function!r}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # what is written in C has no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        name = getattr(function, "__qualname__", type(function).__name__)
        raise UserError(f"{what} is called with {form}, got {name}{signature}") from error


def takes(maker: Callable[..., Any], name: str) -> bool:
    """Return whether a class or a function of the user's takes an argument of this name."""
    try:
        known = inspect.signature(maker).parameters
    except ValueError:
        return False
    return name in known or any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())


def check_positive(**values: float) -> None:
    """Refuse numbers that are not positive and finite."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise UserError(f"{name} must be positive and finite, got {value}")


def check_counts(**counts: tuple[int, int]) -> None:
    """Refuse what is no whole number, or under its least value, given as name=(value, least)."""
    for name, (value, least) in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise UserError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")


def check_fields(settings: Any, *unchecked: str) -> None:
    """Make the values of a frozen dataclass plain Python values of the kinds that its fields are declared with.

    NumPy's numbers and arrays become Python's, and whole numbers become floats where floats are declared.

    Args:
        settings: The dataclass.
        *unchecked: Fields of any kind.

    Raises:
        UserError: If a value is of another kind; names the field and the value.
    """
    try:
        hints = get_type_hints(type(settings))
    except NameError:  # a class of the user's, declared where its annotations cannot be read
        return
    for field in dataclasses.fields(settings):
        if field.name in unchecked or field.name not in hints:
            continue
        hint, given = hints[field.name], getattr(settings, field.name)
        value = _plain(given, hint)
        try:
            check_type(value, hint)
            if isinstance(value, bool) and hint in (int, float, int | None, float | None):
                raise TypeCheckError("is a truth value")
        except TypeCheckError as error:
            raise UserError(f"{field.name} must be {_kind(hint)}, got {given!r}") from error
        if value is not given:
            object.__setattr__(settings, field.name, value)


def _plain(value: Any, hint: Any) -> Any:
    """Return a value without NumPy's types; tuples and floats where they are declared."""
    kinds = {hint, get_origin(hint), *get_args(hint)}
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list) and (tuple in kinds or any(get_origin(kind) is tuple for kind in kinds)):
        value = tuple(value)
    if isinstance(value, tuple):
        value = tuple(part.item() if isinstance(part, np.generic) else part for part in value)
    if isinstance(value, dict):
        value = {name: part.item() if isinstance(part, np.generic) else part for name, part in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds and int not in kinds:
        value = float(value)
    return value


def _kind(hint: Any) -> str:
    """Return a type in words."""
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", type(None): "None"}
    words[tuple[int, ...]] = "whole numbers such as (64, 64)"
    if hint in words:
        return words[hint]
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_args(hint) and type(None) in get_args(hint):
        return " or ".join(_kind(kind) for kind in get_args(hint))
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
