"""One short file a method, as its paper's pseudocode; a learner knows data only through its losses."""

from metarl.core.adam import PPO, Adam
from metarl.core.trpo import TRPO
from metarl.learners.anil import ANIL
from metarl.learners.emaml import EMAML
from metarl.learners.maml import MAML
from metarl.learners.meta_sgd import MetaSGD
from metarl.learners.promp import ProMP
from metarl.learners.reptile import Interpolation, Reptile
from metarl.learners.rl2 import RL2

__all__ = [
    "ANIL",
    "EMAML",
    "LEARNERS",
    "MAML",
    "OUTERS",
    "RL2",
    "SUPERVISED",
    "AnyLearner",
    "MetaSGD",
    "ProMP",
    "Reptile",
    "method_of",
]

AnyLearner = MAML | ANIL | MetaSGD | Reptile | ProMP | EMAML | RL2

LEARNERS: dict[str, AnyLearner] = {
    "maml": MAML(),
    "fomaml": MAML(first_order=True),
    "anil": ANIL(),
    "meta-sgd": MetaSGD(),
    "reptile": Reptile(),
    "promp": ProMP(),
    "ppo-maml": MAML(outer=PPO()),
    "e-maml": EMAML(),
    "rl2": RL2(),
}
"""Every method by name, with its customary settings."""

SUPERVISED: dict[str, AnyLearner] = {
    "maml": MAML(inner_lr=0.01, outer=Adam()),
    "fomaml": MAML(inner_lr=0.01, first_order=True, outer=Adam()),
    "anil": ANIL(inner_lr=0.01, outer=Adam()),
    "meta-sgd": MetaSGD(inner_lr=0.01, outer=Adam()),
    "reptile": Reptile(inner_lr=0.02, inner_steps=5),
}
"""Those of them that learn from labelled examples, with their settings for that."""

OUTERS = {"trpo": TRPO, "ppo": PPO, "adam": Adam, "interpolation": Interpolation}
"""Every outer update by name."""


def method_of(learner: AnyLearner) -> str:
    """Return the name of a learner's method."""
    if type(learner) is MAML:
        return "fomaml" if learner.first_order else "ppo-maml" if isinstance(learner.outer, PPO) else "maml"
    return next(name for name, known in LEARNERS.items() if type(known) is type(learner))
