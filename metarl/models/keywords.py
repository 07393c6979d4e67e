"""The keyword arguments of the models, so that an editor completes them; the settings' own texts explain them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

from metarl.errors import OnNan
from metarl.outer import PPO, TRPO, Adam, Interpolation
from metarl.rl.advantages import Baseline
from metarl.rl.environments import Vectorization
from metarl.rl.own_policy import PolicyMaker
from metarl.rl.policies import Activation


class RunKeywords(TypedDict, total=False):
    """Settings of every run."""

    tasks: int
    iterations: int
    seed: int
    log_every: int
    eval_every: int
    eval_tasks: int
    eval_steps: int
    later_lr: float
    checkpoint_every: int
    keep_checkpoints: int
    device: str
    workers: int | str
    worker_timeout: float
    on_nan: OnNan


class EpisodesKeywords(RunKeywords, total=False):
    """Settings of reinforcement learning, with a memory too."""

    env_options: Mapping[str, bool | int | float | str]
    episodes: int
    horizon: int | None
    discount: float
    gae_lambda: float
    baseline: Literal["linear", "network"] | Baseline
    hidden: tuple[int, ...]
    init_std: float
    action_scale: float
    eval_episodes: int
    film: bool
    vectorization: Vectorization
    processes: int | None


class PolicyKeywords(EpisodesKeywords, total=False):
    """Settings of reinforcement learning with inner steps."""

    inner_loss: Literal["likelihood-ratio", "log-likelihood", "dice"] | Callable[..., Any]
    policy: PolicyMaker
    activation: Activation
    layer_norm: bool
    last_layer_std: float | None
    context: int
    reward_coef: float


class OuterKeywords(TypedDict, total=False):
    """Settings of the outer updates."""

    outer: TRPO | PPO | Adam | Interpolation
    max_kl: float | None
    cg_iterations: int
    cg_damping: float
    fisher_stride: int
    line_search_steps: int
    backtrack: float
    outer_lr: float
    lr_half_life: int
    epochs: int
    clip: float
    minibatches: int
    max_grad_norm: float | None


class MAMLKeywords(PolicyKeywords, OuterKeywords, total=False):
    """Settings of MAML and its kin."""

    inner_lr: float
    inner_steps: int
    first_order: bool


class ProMPKeywords(MAMLKeywords, total=False):
    """Settings of ProMP."""

    inner_kl: float
    inner_kl_target: float | None


class EMAMLKeywords(MAMLKeywords, total=False):
    """Settings of E-MAML."""

    exploration: float


class ReptileKeywords(PolicyKeywords, OuterKeywords, total=False):
    """Settings of Reptile."""

    inner_lr: float
    inner_steps: int
    inner_optimizer: Literal["sgd", "adam"]
    step_size: float
    decay_iterations: int


class LifetimeKeywords(EpisodesKeywords, OuterKeywords, total=False):
    """Settings of methods with a memory."""

    lifetime: int
    vf_coef: float
    ent_coef: float


class RL2Keywords(LifetimeKeywords, total=False):
    """Settings of RL²."""

    embedding: int
    truncation: int
    memory: Literal["gru", "lstm"]


class VariBADKeywords(LifetimeKeywords, total=False):
    """Settings of VariBAD."""

    bootstrap: bool
    latent: int
    decoder: int
    elbo_lr: float
    elbo_epochs: int
    kl_coef: float
    elbo_points: int


class FewShotKeywords(RunKeywords, OuterKeywords, total=False):
    """Settings of supervised tasks and of the methods that learn them."""

    shots: int
    queries: int
    oracle: bool
    ways: int
    folder: str
    side: int
    colour: bool
    network: Literal["mlp", "conv"]
    filters: int
    hidden: tuple[int, ...]
    context: int
    eval_queries: int
    inner_lr: float
    inner_steps: int
    first_order: bool
    inner_optimizer: Literal["sgd", "adam"]
    step_size: float
    decay_iterations: int
