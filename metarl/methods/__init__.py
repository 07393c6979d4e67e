"""One short file a method, as its paper's pseudocode; a method knows data only through its losses."""

from metarl.methods.anil import ANIL
from metarl.methods.cavia import CAVIA
from metarl.methods.emaml import EMAML
from metarl.methods.maml import MAML
from metarl.methods.meta_sgd import MetaSGD
from metarl.methods.promp import ProMP
from metarl.methods.protocols import QUERY, InnerLoop, Loss, Losses, Method, Outputs
from metarl.methods.reptile import Reptile
from metarl.methods.rl2 import RL2
from metarl.methods.varibad import VariBAD
from metarl.outer import PPO, Adam

__all__ = [
    "ANIL",
    "CAVIA",
    "EMAML",
    "MAML",
    "METHODS",
    "QUERY",
    "RL2",
    "SUPERVISED",
    "InnerLoop",
    "Loss",
    "Losses",
    "MetaSGD",
    "Method",
    "Outputs",
    "ProMP",
    "Reptile",
    "VariBAD",
    "method_name",
]

METHODS: dict[str, Method] = {
    "maml": MAML(),
    "fomaml": MAML(first_order=True),
    "anil": ANIL(),
    "cavia": CAVIA(),
    "meta-sgd": MetaSGD(),
    "reptile": Reptile(),
    "promp": ProMP(),
    "ppo-maml": MAML(outer=PPO()),
    "e-maml": EMAML(),
    "rl2": RL2(),
    "varibad": VariBAD(),
}
"""Every method by name, with its customary settings."""

SUPERVISED: dict[str, Method] = {
    "maml": MAML(inner_lr=0.01, outer=Adam()),
    "fomaml": MAML(inner_lr=0.01, first_order=True, outer=Adam()),
    "anil": ANIL(inner_lr=0.01, outer=Adam()),
    "cavia": CAVIA(inner_lr=0.1, outer=Adam()),
    "meta-sgd": MetaSGD(inner_lr=0.01, outer=Adam()),
    "reptile": Reptile(inner_lr=0.02, inner_steps=5),
}
"""Those of them that learn from labelled examples, with their settings for that."""


def method_name(method: Method) -> str:
    """Return the name of a method: one of ours, or `module:Class` of somebody else's."""
    if type(method) is MAML:
        return "fomaml" if method.first_order else "ppo-maml" if isinstance(method.outer, PPO) else "maml"
    ours = (name for name, known in METHODS.items() if type(known) is type(method))
    return next(ours, f"{type(method).__module__}:{type(method).__qualname__}")
