"""Settings that are known to learn, by name."""

from __future__ import annotations

from metarl.core.trpo import TRPO
from metarl.errors import UserError, did_you_mean
from metarl.experiment.config import Config
from metarl.learners import MAML

PRESETS = {
    "point-navigation": Config(
        env="metarl/PointNavigation-v0",
        learner=MAML(inner_lr=0.5, outer=TRPO(max_kl=0.03)),
        later_lr=0.25,
        tasks=20,
        episodes=20,
        action_scale=0.1,
        iterations=150,
    ),
    "half-cheetah-vel": Config(
        env="metarl/HalfCheetahVel-v0",
        learner=MAML(inner_lr=0.1, outer=TRPO(max_kl=0.01)),
        tasks=40,
        episodes=20,
        horizon=100,
        action_scale=0.1,
        iterations=300,
    ),
    "half-cheetah-dir": Config(
        env="metarl/HalfCheetahDir-v0",
        learner=MAML(inner_lr=0.1, outer=TRPO(max_kl=0.01)),
        tasks=20,
        episodes=20,
        horizon=100,
        action_scale=0.1,
        iterations=300,
    ),
}
"""Every preset."""


def find_preset(name: str) -> Config:
    """Return a preset's configuration.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS) or ";"
        raise UserError(f"unknown preset {name!r}{hint} 'metarl presets' lists all {len(PRESETS)}")
    return PRESETS[name]
