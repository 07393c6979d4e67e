"""How the meta-params move: one short file an update, and what it may ask of the data (`MetaObjective`)."""

from metarl.outer.adam import Adam
from metarl.outer.interpolation import Interpolation
from metarl.outer.objective import MetaObjective, Part, State, Updated
from metarl.outer.ppo import PPO
from metarl.outer.trpo import TRPO

__all__ = ["OUTERS", "PPO", "TRPO", "Adam", "Interpolation", "MetaObjective", "Part", "State", "Updated"]

OUTERS = {"trpo": TRPO, "ppo": PPO, "adam": Adam, "interpolation": Interpolation}
"""Every outer update by name."""
