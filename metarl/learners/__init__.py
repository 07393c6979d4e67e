"""One short file a method, as its paper's pseudocode; a learner knows data only through its losses."""

from metarl.learners.maml import MAML

__all__ = ["LEARNERS", "MAML"]

LEARNERS: dict[str, MAML] = {"maml": MAML(), "fomaml": MAML(first_order=True)}
"""Every method by name, with its customary settings."""
