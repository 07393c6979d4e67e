"""Meta-reinforcement learning on Gymnasium task distributions: MAML and its kin, fast and tested."""

from importlib.metadata import PackageNotFoundError, version

import metarl.threads  # noqa: F401 - before torch: how its threads wait
from metarl.core.adam import PPO, Adam
from metarl.core.trpo import TRPO
from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.models import ANIL, EMAML, FOMAML, MAML, PPOMAML, RL2, MetaSGD, ProMP, Reptile, adaptation_curve, load
from metarl.rl.sb3 import SB3VecEnv

__all__ = [
    "ANIL",
    "EMAML",
    "FOMAML",
    "MAML",
    "PPO",
    "PPOMAML",
    "RL2",
    "TRPO",
    "Adam",
    "AdaptationCurve",
    "MetaSGD",
    "ProMP",
    "Reptile",
    "SB3VecEnv",
    "UserError",
    "adaptation_curve",
    "load",
]

try:
    __version__ = version("metarl-toolkit")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0"
