"""Meta-reinforcement learning on Gymnasium task distributions: MAML and its kin, fast and tested."""

from importlib.metadata import PackageNotFoundError, version

from metarl.core.trpo import TRPO
from metarl.errors import UserError
from metarl.evaluation import AdaptationCurve
from metarl.models import FOMAML, MAML, adaptation_curve, load

__all__ = ["FOMAML", "MAML", "TRPO", "AdaptationCurve", "UserError", "adaptation_curve", "load"]

try:
    __version__ = version("metarl-toolkit")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0"
