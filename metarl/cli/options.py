"""The options of each command."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

Imports = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="import")]
"""`--import`, which may be repeated."""


@dataclasses.dataclass(frozen=True)
class Eval:
    """Draw the adaptation curve of a run on held-out tasks; of runs that differ in their seed, that over the seeds."""

    run: tyro.conf.Positional[Path]
    """Run directory, a folder of several seeds' runs, a file that `save` wrote, or pretrained:NAME."""
    steps: int = 3
    """Gradient steps."""
    tasks: int | None = None
    """Held-out tasks, 40 by default."""
    task: tyro.conf.UseAppendAction[tuple[tuple[float, ...], ...]] = ()
    """A task to evaluate on, instead of those; may be repeated."""
    episodes: int | None = None
    """Episodes a task and step, 20 by default; for reinforcement learning only."""
    seed: int = 1
    """Chooses the tasks and their data, never the tasks that chose the run's best checkpoint."""
    checkpoint: Literal["best", "last"] = "best"
    """Which checkpoint of a run directory: the best on held-out tasks, or the newest."""
    json: Path | None = None
    """Where to write the curve as JSON."""
    figure: Path | None = None
    """Where to draw what adaptation does: paths in 2-D navigation, with what VariBAD believes; or sine waves fitted."""
    imports: Imports = ()
    """Module of yours that holds what the run was made with; may be repeated."""


@dataclasses.dataclass(frozen=True)
class Envs:
    """List the task distributions, a line each; with an id, tell all about one."""

    id: tyro.conf.Positional[str | None] = None
    """Id of an environment, `metarl/` and `-v0` may be left out."""
    check: tyro.conf.FlagCreatePairsOff[bool] = False
    """Check that it is a task distribution: one of ours, or module:Id-v0 or module:Class of your own."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print all there is to say of them as JSON."""


@dataclasses.dataclass(frozen=True)
class Presets:
    """List what can be trained."""

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print every preset's settings as JSON."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw learning and adaptation curves of runs of one environment; runs that differ in their seed are one curve."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories, or folders of them, such as `train --seeds` makes."""
    out: Path | None = None
    """Where to write the picture, the ending says which format; by default runs.png, or runs.pdf with --style paper."""
    x: tuple[Literal["steps", "seconds", "iterations"], ...] = ("steps", "seconds")
    """What learning curves are drawn against, a panel each."""
    tasks: Literal["train", "held-out"] = "train"
    """Tasks of the learning curves: those trained on, or held-out ones, by which a run chooses its best params."""
    smooth: int = 1
    """Running mean over so many logged iterations, or evaluations."""
    aggregate: Literal["mean", "iqm"] = "mean"
    """What becomes of several seeds: the mean, or the interquartile mean (of fewer than four, the mean)."""
    labels: tuple[str, ...] = ()
    """Names of the curves, in the order of the runs."""
    size: tuple[float, float] | None = None
    """Width and height in inches."""
    style: Literal["screen", "paper"] = "screen"
    """For a screen; or paper: as wide as a column, with fonts of 8 points."""
    measure: Literal["return", "success"] | None = None
    """What is drawn; by default what the runs learned by."""


@dataclasses.dataclass(frozen=True)
class Video:
    """Film a task before and after adaptation, side by side."""

    run: tyro.conf.Positional[Path]
    """Run directory, a file that `save` wrote, or pretrained:NAME."""
    task: tuple[float, ...] = ()
    """The task; by default a held-out one."""
    steps: int = 1
    """Gradient steps between the two."""
    seed: int = 0
    """Chooses the task and the episodes."""
    out: Path | None = None
    """Where to write, .gif or .mp4; by default adaptation.gif in the run directory."""
    imports: Imports = ()
    """Module of yours that holds what the run was made with; may be repeated."""


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a policy, adapted to a task, as a model of stable-baselines3's PPO; its value network starts untrained."""

    run: tyro.conf.Positional[Path]
    """Run directory, a file that `save` wrote, or pretrained:NAME."""
    to: tuple[str, Path]
    """The format, which is sb3, and the file."""
    task: tuple[float, ...] = ()
    """The task to adapt to."""
    steps: int | None = None
    """Gradient steps, by default as many as in training; 0 exports the policy before adaptation."""
    seed: int = 0
    """Chooses the episodes it adapts by."""
    imports: Imports = ()
    """Module of yours that holds what the run was made with; may be repeated."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Train methods and baselines under one budget and compare their adaptation curves."""

    methods: str = "maml,fomaml,anil,reptile,pretrained,random,oracle"
    """Methods and baselines, by comma: names of ours, or module:Class; random, pretrained, oracle and scratch (PPO on
    single tasks) are baselines."""
    seeds: int = 3
    """Number of seeds."""
    budget: int = 2_000_000
    """Environment steps of each run, which ends with the meta-iteration that reaches them."""
    horizon: int | None = None
    """Longest episode, in steps; by default the preset's."""
    steps: int = 3
    """Steps of the evaluation: gradient steps, or episodes where a memory adapts."""
    tasks: int = 40
    """Held-out tasks of the evaluation, the same for all."""
    episodes: int = 20
    """Episodes a task and step of the evaluation."""
    style: Literal["screen", "paper"] = "screen"
    """For a screen, as curves.png; or paper: as wide as a column, with fonts of 8 points, as curves.pdf."""
    out: Path | None = None
    """Where to write; what is there already is not done again. By default runs/benchmark-PRESET."""
    imports: Imports = ()
    """Modules of yours that hold what a file of settings names."""


@dataclasses.dataclass(frozen=True)
class Analyse:
    """Freeze layers at test time, and compare each layer before and after adaptation."""

    run: tyro.conf.Positional[Path]
    """Run directory, a file that `save` wrote, or pretrained:NAME."""
    steps: int | None = None
    """Gradient steps; by default as many as in training."""
    tasks: int = 20
    """Held-out tasks."""
    seed: int = 1
    """Chooses the tasks and their data."""
    along: tyro.conf.FlagCreatePairsOff[bool] = False
    """Analyse every checkpoint kept in the run directory, oldest first; else the best."""
    out: Path | None = None
    """Where to draw it; by default analysis.png in the run directory. The numbers go beside it, as .json."""
    imports: Imports = ()
    """Module of yours that holds what the run was made with; may be repeated."""


@dataclasses.dataclass(frozen=True)
class Sb3:
    """Meta-train an algorithm of stable-baselines3 by Reptile; writes a model that its own `load` reads."""

    env: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV")]
    """An id from 'metarl envs', module:Id-v0 of your own, module:Class, or a preset, whose environment, horizon and
    discount are taken."""
    algorithm: str = "ppo"
    """ppo, a2c, sac, td3, ddpg, dqn, or module:Class such as sb3_contrib:TQC."""
    settings: tuple[str, ...] = ()
    """Keyword arguments of the algorithm, as NAME=VALUE learning_rate=1e-3 gamma=0.97 ..."""
    k: int = 2048
    """Environment steps of learning a meta-iteration."""
    iterations: int = 50
    """Meta-iterations."""
    epsilon: float = 0.25
    """How far the params move towards the outcome, in (0, 1]."""
    decay: tyro.conf.FlagCreatePairsOff[bool] = False
    """Let epsilon fall linearly to 0."""
    num_envs: int | None = None
    """Environments side by side; by default 8, or 1 with a replay buffer."""
    horizon: int | None = None
    """Longest episode, in steps; by default the environment's own."""
    seed: int = 0
    """Seed of everything random."""
    steps: int = 3
    """Points of the adaptation curve after the first, k environment steps apart."""
    tasks: int = 10
    """Held-out tasks of the adaptation curve; 0 draws none."""
    episodes: int = 10
    """Episodes a point of it in each task."""
    out: Path = Path("model.zip")
    """Where to write the model; it is written after each meta-iteration."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on with the training that wrote it, up to `iterations` in all."""
    json: Path | None = None
    """Where to write the adaptation curve as JSON."""
    log_dir: Path | None = None
    """Where to write TensorBoard and CSV; by default nowhere."""
