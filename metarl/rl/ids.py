"""Ids of Gymnasium's: ours, and the user's, here and in other processes; the only place that knows `metarl_envs`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any

import cloudpickle
import gymnasium
from gymnasium.envs.registration import EnvSpec

from metarl.errors import UserError, did_you_mean, needs

EnvSource = str | Callable[[], gymnasium.Env]
"""A Gymnasium id, or a function that returns one environment with the task methods."""


def find_spec(env_id: str) -> EnvSpec:
    """Return the registered spec of an id; `module:Id-v0` imports the module first, as `gymnasium.make` does.

    Raises:
        UserError: If no such id is registered; names the nearest.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                raise UserError(f"environment {env_id!r}: {error}") from error
            raise UserError(needs(f"environment {env_id!r}", error)) from error
        return find_spec(name)
    if env_id.startswith("metarl/"):
        import metarl_envs
    try:
        return gymnasium.spec(env_id)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        import metarl_envs  # noqa: F401

        hint = did_you_mean(env_id, gymnasium.registry) or ";"
        yours = "'metarl envs' lists all of ours, and module:Id-v0 finds what a module of yours registers"
        raise UserError(f"unknown environment {env_id!r}{hint} {yours}") from error


def registration(source: EnvSource) -> list[bytes]:
    """Return what Gymnasium knows of an id, pickled, for a process that has not imported what registers it.

    A function may make any id: what it knows of those that the user has registered and that can be pickled.

    Raises:
        UserError: If the id is one that cannot be.
    """
    if isinstance(source, str):
        try:
            return [cloudpickle.dumps(find_spec(source))]
        except UserError:
            raise
        except Exception as error:  # whatever the user's objects raise
            why = f"{type(error).__name__}: {error}"
            raise UserError(f"environment {source!r} cannot be sent to another process ({why})") from error
    pickled = []
    for spec in filter(_is_the_users, gymnasium.registry.values()):
        with suppress(Exception):
            pickled.append(cloudpickle.dumps(spec))
    return pickled


def _is_the_users(spec: EnvSpec) -> bool:
    entry = spec.entry_point
    module = entry if isinstance(entry, str) else getattr(entry, "__module__", "")
    return str(module).partition(".")[0] not in ("gymnasium", "metarl_envs")


def register(pickled: Iterable[bytes]) -> None:
    """Tell Gymnasium, in another process, of our ids and of those that it does not know yet."""
    import metarl_envs  # noqa: F401

    for spec in pickled:
        with suppress(Exception):  # one that cannot be loaded here may not be needed
            found = cloudpickle.loads(spec)
            gymnasium.registry.setdefault(found.id, found)


def registered() -> dict[str, EnvSpec]:
    """Return the specs of all our own environments by id."""
    import metarl_envs  # noqa: F401 - registers the ids

    return {env_id: spec for env_id, spec in gymnasium.registry.items() if env_id.startswith("metarl/")}


def longest_episode(env_id: str) -> int | None:
    """Return the longest episode of an id, which may have its module in front, in steps.

    None where it is not registered, its module cannot be imported, or it knows of none.
    """
    import metarl_envs  # noqa: F401 - registers the ids

    module, _, name = env_id.rpartition(":")
    if module:
        with suppress(Exception):  # whoever makes the environment says what is wrong with it
            import_module(module)
    spec = gymnasium.registry.get(name)
    return None if spec is None else spec.max_episode_steps


def catalogue() -> list[Any]:
    """Return what there is to say of each of our families, as in envs/README.md (`metarl_envs.catalogue.Entry`)."""
    from metarl_envs import HORIZONS, WITH_PACKAGE
    from metarl_envs.catalogue import catalogue

    return catalogue(HORIZONS | WITH_PACKAGE)
