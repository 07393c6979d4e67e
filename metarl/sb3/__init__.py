"""stable-baselines3, in and out: its algorithms on our tasks, our policies as its models."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarl.sb3.reptile import Reptile
    from metarl.sb3.vec_env import SB3VecEnv

_PLACE = {"Reptile": "metarl.sb3.reptile", "SB3VecEnv": "metarl.sb3.vec_env"}

__all__ = ["Reptile", "SB3VecEnv"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _PLACE:
        return getattr(import_module(_PLACE[name]), name)
    raise AttributeError(f"module 'metarl.sb3' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
