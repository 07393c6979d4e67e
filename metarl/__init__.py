"""Meta-reinforcement learning on Gymnasium task distributions: MAML and its kin, fast and tested."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import metarl.threads  # noqa: F401 - before torch: how its threads wait and its products are rounded

if TYPE_CHECKING:
    from metarl.core.distributions import Categorical, Gaussian
    from metarl.errors import UserError
    from metarl.evaluation import AdaptationCurve
    from metarl.experiment.callbacks import Callback
    from metarl.models.load import adaptation_curve, from_preset, load
    from metarl.models.methods import ANIL, CAVIA, EMAML, FOMAML, MAML, PPOMAML, RL2, MetaSGD, ProMP, Reptile, VariBAD
    from metarl.models.rl import Model
    from metarl.models.supervised import FewShot
    from metarl.outer import PPO, TRPO, Adam, Interpolation
    from metarl.rl.check_env import check_env
    from metarl.sb3.vec_env import SB3VecEnv

_PLACES = {
    "metarl.errors": ("UserError",),
    "metarl.evaluation": ("AdaptationCurve",),
    "metarl.experiment.callbacks": ("Callback",),
    "metarl.models.load": ("adaptation_curve", "from_preset", "load"),
    "metarl.models.methods": (
        "ANIL",
        "CAVIA",
        "EMAML",
        "FOMAML",
        "MAML",
        "MetaSGD",
        "PPOMAML",
        "ProMP",
        "RL2",
        "Reptile",
        "VariBAD",
    ),
    "metarl.models.rl": ("Model",),
    "metarl.models.supervised": ("FewShot",),
    "metarl.rl.check_env": ("check_env",),
    "metarl.outer": ("PPO", "TRPO", "Adam", "Interpolation"),
    "metarl.core.distributions": ("Categorical", "Gaussian"),
    "metarl.sb3.vec_env": ("SB3VecEnv",),
}
_PLACE = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "ANIL",
    "CAVIA",
    "EMAML",
    "FOMAML",
    "MAML",
    "PPO",
    "PPOMAML",
    "RL2",
    "TRPO",
    "Adam",
    "AdaptationCurve",
    "Callback",
    "Categorical",
    "FewShot",
    "Gaussian",
    "Interpolation",
    "MetaSGD",
    "Model",
    "ProMP",
    "Reptile",
    "SB3VecEnv",
    "UserError",
    "VariBAD",
    "adaptation_curve",
    "check_env",
    "from_preset",
    "load",
]

try:
    __version__ = version("metarl-toolkit")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0"


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: `metarl --help` needs no torch."""
    if name in ("methods", "outer", "sb3"):
        return import_module(f"metarl.{name}")
    if name in _PLACE:
        return getattr(import_module(_PLACE[name]), name)
    raise AttributeError(f"module 'metarl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
