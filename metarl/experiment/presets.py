"""Ready-made settings, by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from metarl.errors import UserError, did_you_mean
from metarl.experiment.base_config import Settings
from metarl.experiment.config import Config
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.methods import MAML, RL2, MetaSGD, ProMP, Reptile, VariBAD
from metarl.outer import PPO, TRPO, Adam
from metarl.rl.ids import registered

PRETRAINED = Reptile(inner_lr=0.01, inner_steps=1, outer=Adam(outer_lr=3e-3))
"""One step towards each task is joint training on all of them (Nichol et al. 2018, section 5)."""

SINUSOID = FewShotConfig(
    data="sinusoid",
    method=MAML(inner_lr=0.01, inner_steps=1, outer=Adam(outer_lr=3e-3)),
    tasks=25,
    iterations=4000,
    log_every=100,
    eval_every=500,
    eval_tasks=100,
    eval_steps=10,
    checkpoint_every=500,
)

GLYPHS = FewShotConfig(
    data="glyphs",
    method=MAML(inner_lr=0.4, inner_steps=1, outer=Adam(outer_lr=3e-3)),
    tasks=16,
    ways=5,
    shots=1,
    queries=5,
    network="conv",
    filters=32,
    iterations=1000,
    log_every=25,
    eval_every=100,
    eval_tasks=100,
    eval_steps=10,
    eval_queries=10,
    checkpoint_every=50,
)

LOCOMOTION = Config(
    env="metarl/HalfCheetahDir-v0",
    method=ProMP(inner_lr=0.1, outer=PPO(minibatches=2)),
    tasks=10,
    episodes=10,
    horizon=100,
    action_scale=0.1,
    discount=0.97,
    gae_lambda=0.9,
    iterations=400,
    eval_every=40,
)

MEMORY: dict[str, Any] = {"method": RL2(), "tasks": 8, "episodes": 2}
"""With a memory and its many small updates the gait that an ant learns depends less on the seed."""

NAVIGATION = Config(
    env="metarl/PointNavigation-v0",
    method=MAML(inner_lr=0.5, outer=TRPO(max_kl=0.03)),
    later_lr=0.35,
    tasks=20,
    episodes=20,
    action_scale=0.1,
    iterations=150,
)
"""That of the MAML paper, with its method."""

SEARCH = replace(
    NAVIGATION,
    env="metarl/SparseNavigation-v0",
    method=RL2(ent_coef=0.003),
    later_lr=0.5,
    tasks=8,
    episodes=2,
    horizon=100,
    gae_lambda=0.95,
    iterations=400,
    eval_every=100,
    checkpoint_every=50,
)
"""Without a reward there is no gradient, but a memory can search."""

GRID = Config(
    env="metarl/GridNavigation-v0",
    method=RL2(lifetime=4, ent_coef=0.01),
    tasks=20,
    episodes=4,
    hidden=(64, 32),
    discount=0.95,
    gae_lambda=0.95,
    iterations=100,
    eval_steps=3,
)
"""That of the VariBAD paper: lifetimes of four episodes. A gradient step cannot search a grid."""

BELIEF: dict[str, Any] = {
    "iterations": 625,
    "tasks": 16,
    "episodes": 1,
    "hidden": (64, 64, 64),
    "eval_every": 125,
    "checkpoint_every": 25,
}
"""With a belief an ant learns in fewer steps than with gradient steps or RL²'s memory, if the step size falls."""

STEP_SIZES = MetaSGD(inner_lr=0.1, outer=PPO(minibatches=2, max_kl=0.1))
"""With a step size for each param an ant learns faster than with one for all."""

REWARDED: dict[str, Any] = {"context": 16, "reward_coef": 16.0, "later_lr": 0.1}
"""Where a goal velocity is far away a policy gradient does not say how far, but the rewards do."""

UPRIGHT: dict[str, Any] = {
    **MEMORY,
    "horizon": 200,
    "discount": 0.99,
    "gae_lambda": 0.95,
    "action_scale": 0.5,
    "eval_every": 25,
}
"""A body that falls must learn not to fall first, for which a memory's many small updates are best."""

BODIES: dict[str, Any] = {**UPRIGHT, "method": RL2(lifetime=2), "episodes": 1, "eval_every": 50}
"""Where a memory adds little, short lifetimes and more updates of them teach the walk faster."""

LARGE: dict[str, Any] = {"tasks": 20, "method": ProMP(inner_lr=0.1), "eval_every": 20}
"""Twice as large meta-iterations of half as many steps of Adam: the families with them have not been trained with those
above yet."""

TABLES = Config(env="metarl/Bandit-v0", method=MAML(inner_lr=1.0), tasks=40, episodes=20, iterations=200)
"""Without motion: discrete actions, a large inner step."""


def locomotion(family: str, iterations: int, **changes: Any) -> Config:
    """Return the locomotion preset of another family."""
    return replace(LOCOMOTION, env=f"metarl/{family}-v0", iterations=iterations, **changes)


def varibad(lr_half_life: int) -> VariBAD:
    """Return VariBAD with a step size that falls."""
    return VariBAD(outer=replace(VariBAD().outer, lr_half_life=lr_half_life))


ML1 = Config(
    env="metarl/MetaWorldML1-v0",
    env_options={"task": "reach"},
    method=MAML(inner_lr=0.1, outer=TRPO(max_kl=0.01)),
    tasks=10,
    episodes=10,
    discount=0.99,
    gae_lambda=1.0,
    hidden=(512, 512),
    iterations=20,
    eval_every=5,
    eval_tasks=20,
    eval_episodes=5,
    eval_steps=1,
    checkpoint_every=5,
)
"""The settings of metaworld-algorithms for MAML with TRPO: 2 million environment steps, 500 a rollout."""

IN_ENVIRONMENTS: dict[str, Config] = {
    "point-navigation": replace(NAVIGATION, film=True),
    "sparse-navigation": SEARCH,
    "corner-navigation": locomotion("CornerNavigation", 40, **LARGE, horizon=50, discount=0.99, gae_lambda=1.0),
    "grid-navigation": GRID,
    "bandit": TABLES,
    "tabular": replace(TABLES, env="metarl/TabularMDP-v0", iterations=100),
    "half-cheetah-dir": LOCOMOTION,
    "half-cheetah-vel": locomotion("HalfCheetahVel", 250, **REWARDED, eval_every=25),
    "half-cheetah-crippled": locomotion("HalfCheetahCrippled", 500, **MEMORY, eval_every=50, checkpoint_every=25),
    "ant-dir": locomotion("AntDir", **BELIEF, method=varibad(lr_half_life=300)),
    "ant-vel": locomotion("AntVel", **BELIEF, method=varibad(lr_half_life=200)),
    "ant-goal": locomotion("AntGoal", 150, method=STEP_SIZES),
    "ant-crippled": locomotion("AntCrippled", 400, **MEMORY, eval_every=50),
    "walker-dir": locomotion("Walker2dDir", 30, **LARGE),
    "walker-vel": locomotion("Walker2dVel", 125, **UPRIGHT),
    "walker-rand-params": locomotion("Walker2dRandParams", 500, **BODIES),
    "hopper-rand-params": locomotion("HopperRandParams", 30, **LARGE),
    "humanoid-dir": locomotion("HumanoidDir", 300, **UPRIGHT),
    "swimmer-vel": locomotion("SwimmerVel", 200, **LARGE),
    **{f"ml1-{task}": replace(ML1, env_options={"task": task}) for task in ("reach", "push", "pick-place")},
    "ml10": replace(ML1, env="metarl/MetaWorldML10-v0", env_options={}, tasks=20, iterations=100, eval_every=10),
}
"""The presets of policies."""

ON_DATA: dict[str, FewShotConfig] = {
    "sinusoid": SINUSOID,
    "sinusoid-pretrained": replace(SINUSOID, method=PRETRAINED),
    "sinusoid-oracle": replace(SINUSOID, method=PRETRAINED, oracle=True),
    "glyphs-5way-1shot": GLYPHS,
    "omniglot-5way-1shot": replace(GLYPHS, data="omniglot", folder=""),
    "folder-5way-1shot": replace(GLYPHS, data="folder", eval_queries=5),
    "glyphs-20way-1shot": replace(GLYPHS, ways=20, tasks=4, queries=3, iterations=3000, eval_tasks=40, eval_queries=5),
}
"""The presets of supervised tasks."""

PRESETS: dict[str, Settings] = {**IN_ENVIRONMENTS, **ON_DATA}
"""Every preset.

The ledger of results (`benchmarks/ledger/ledger.md`) shows what each has reached. In the hopper's the policy learns,
but a gradient step adds nothing yet, nor does the memory in walker-rand-params and with a dead actuator. Of
Meta-World's, which have published settings, ml1-reach and ml10 learn; after 2M steps ml1-push succeeds in 16 % of the
episodes before a gradient step and 10 % after it (RL² solved half of the pushes after 5.85M, with one of two seeds).
"""


NOT_LEARNED = ("ml1-pick-place",)
"""Presets with published settings that nobody has seen learn here."""


def for_env(env: str) -> Config:
    """Return the configuration of an environment's first preset, or the defaults where it has none."""
    return next((config for config in IN_ENVIRONMENTS.values() if config.env == env), Config(env=env))


def for_data(data: str) -> FewShotConfig:
    """Return the configuration of the first preset of supervised tasks, or the defaults where they have none.

    Raises:
        UserError: If there are no such tasks.
    """
    return next((config for config in ON_DATA.values() if config.data == data), FewShotConfig(data=data))


def find_preset(name: str) -> Settings:
    """Return a preset's configuration.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in PRESETS:
        hint = did_you_mean(name, [*PRESETS, *registered()]) or ";"
        if Path(name).name and (file := Path(name).with_suffix(".py")).exists():
            hint = f"; of {file} here, name an object: {file.stem}:NAME;"
        raise UserError(f"unknown preset {name!r}{hint} 'metarl presets' lists all {len(PRESETS)}")
    return PRESETS[name]
