"""The options of `metarl train`: every setting, in the groups in which its help lists them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from metarl.cli.helptext import as_option, documented
from metarl.cli.parse import parse
from metarl.experiment.base_config import Settings
from metarl.experiment.settings import brought, elsewhere, fixed
from metarl.methods import method_name
from metarl.outer import OUTERS

GROUPS = {
    "run": ("iterations", "tasks", "seed", "on_nan"),
    "task": (
        *("env", "env_options", "episodes", "horizon", "action_scale", "vectorization", "processes"),
        *("data", "ways", "shots", "queries", "folder", "side", "colour", "oracle"),
    ),
    "inner_loop": ("inner_loss", "later_lr", "discount", "gae_lambda", "baseline"),
    "network": (
        *("policy", "hidden", "activation", "layer_norm", "last_layer_std", "context", "reward_coef", "init_std"),
        *("network", "filters"),
    ),
    "evaluation": ("eval_every", "eval_tasks", "eval_episodes", "eval_queries", "eval_steps"),
    "logging": ("log_every", "film", "checkpoint_every", "keep_checkpoints"),
    "computing": ("device", "workers", "worker_timeout"),
}
"""The settings of a run, by the group that the help shows them in; what is in none of them joins the first."""

ABOUT = {
    "run": "How much is trained.",
    "task": "The tasks, and how much data of each.",
    "inner_loop": "What adapts to a task's data.",
    "network": "The network that adapts.",
    "evaluation": "The adaptation curve on held-out tasks, drawn as training goes on.",
    "logging": "What is written to the run directory.",
    "computing": "Where the work is done.",
}
"""A sentence on each group."""

SHOWN = "point-navigation"
"""The preset whose defaults the help shows where none is typed."""


@dataclasses.dataclass(frozen=True)
class Train:
    """A training as it was typed."""

    config: Settings
    log_dir: Path | None = None
    """Run directory; by default runs/PRESET/<time>."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on with the run in the run directory."""
    seeds: int | None = None
    """Train this many times, with the seeds SEED, SEED + 1, ...; one folder a seed in the run directory."""
    jobs: int = 1
    """How many of them to train at a time."""


def parse_train(name: str, args: list[str], default: Train, keep: Collection[str] = ()) -> Train:
    """Parse the options of a training, which change the default's settings; those to keep are asked for."""
    config = default.config
    form = _form(name, default, fixed(config.method) - typed_names(args))  # the method refuses those that are typed
    others = {f"--{n.replace('_', '-')}": f"; --{text}" for n, text in elsewhere(config, config.method.outer).items()}
    typed: Any = parse(form, args, f"metarl train {name}", default=form(), elsewhere=others)
    values = {f.name: getattr(getattr(typed, g), f.name) for g in GROUPS for f in dataclasses.fields(getattr(typed, g))}
    values |= {name: {**kept, **values[name]} for name, kept in _tables(config).items()}
    method: Any = config.method
    if dataclasses.is_dataclass(config.method):
        outer = type(method.outer)(**_values(typed.outer))
        method = dataclasses.replace(method, **_values(typed.method), outer=outer)
    if method != config.method:
        values |= brought(dataclasses.replace(config, **values), method, keep)
    own = {f.name: getattr(typed, f.name) for f in dataclasses.fields(Train) if f.name != "config"}
    return Train(dataclasses.replace(config, **values, method=method), **own)


def typed_names(args: list[str]) -> set[str]:
    """Return the names of the settings that are typed."""
    names = {arg.partition("=")[0][2:].replace("-", "_") for arg in args if arg.startswith("--")}
    return names | {name.removeprefix("no_") for name in names}


def _values(group: Any) -> dict[str, Any]:
    return {f.name: getattr(group, f.name) for f in dataclasses.fields(group)}


def _form(name: str, default: Train, left_out: Collection[str]) -> type[Any]:
    """Return a dataclass of the command's own options, and of groups of the settings, each a dataclass of its own."""
    hints, docs = get_type_hints(Train, include_extras=True), documented(Train)
    own = [f.name for f in dataclasses.fields(Train) if f.name != "config"]
    fields: list[Any] = [_option(option, hints[option], docs[option], getattr(default, option)) for option in own]
    fields += [
        (group, kind, dataclasses.field(default_factory=kind)) for group, kind in _groups(default.config, left_out)
    ]
    form = dataclasses.make_dataclass("Options", fields, frozen=True)
    whose = f"\n\n    The defaults below are those of {SHOWN}." if name == "PRESET" else ""
    form.__doc__ = f"""Meta-train a policy or a network; settings not given are the preset's.{whose}

    --callback module:name adds a callback of yours; it may be repeated.

    --import MODULE imports a module of yours that a file of settings names.
    """
    return form


def _tables(config: Settings) -> dict[str, dict[str, Any]]:
    """Return the settings that are tables, as the environment's options are; what is typed adds to them."""
    return {name: value for name, value in vars(config).items() if isinstance(value, dict)}


def _groups(config: Settings, left_out: Collection[str]) -> Iterator[tuple[str, type[Any]]]:
    """Yield the groups of settings, by name: those of the run, and in the middle those of the method it has."""
    grouped = {name for names in GROUPS.values() for name in names}
    own = [f.name for f in dataclasses.fields(config) if f.name not in ("method", *left_out)]
    # a dictionary that is not empty would take its own keys as options, and no others
    plain = dataclasses.replace(config, **{name: {} for name in _tables(config)})
    for group, names in GROUPS.items():
        if group == "inner_loop" and dataclasses.is_dataclass(config.method):
            of_method = [name for name in _names(config.method) if name not in left_out]
            yield "method", _group(config.method, of_method, _about_method(config))
            yield "outer", _group(config.method.outer, _names(config.method.outer), _about_outer(config.method))
        rest = [name for name in own if name not in grouped] if group == "run" else []
        yield group, _group(plain, [name for name in (*names, *rest) if name in own], ABOUT[group])


def _group(settings: Any, names: list[str], about: str) -> type[Any]:
    """Return a dataclass of some of the settings, whose defaults are the values they have."""
    docs = documented(type(settings))
    try:
        hints = get_type_hints(type(settings), include_extras=True)
    except NameError:  # a class of the user's, declared where its annotations cannot be read
        hints = {}
    values = {name: getattr(settings, name) for name in names}
    options = [_option(name, hints.get(name, type(value)), docs.get(name, ""), value) for name, value in values.items()]
    group = dataclasses.make_dataclass("Group", options, frozen=True)
    group.__doc__ = about
    return group


def _option(name: str, hint: Any, about: str, value: Any) -> Any:
    default: Any = dataclasses.field(default=value)
    if isinstance(value, dict):
        default = dataclasses.field(default_factory=value.copy)
    return name, as_option(hint, about, value), default


def _names(value: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(value) if f.name != "outer"]


def _about_method(config: Settings) -> str:
    known = config.methods
    first = (inspect.getdoc(type(config.method)) or "").partition("\n")[0]
    return f"{method_name(config.method)}: {first} --method NAME chooses another and its settings: {', '.join(known)}."


def _about_outer(method: Any) -> str:
    name = next((name for name, kind in OUTERS.items() if type(method.outer) is kind), type(method.outer).__name__)
    return f"{name}: how the meta-params move. --outer NAME chooses another and its settings: {', '.join(OUTERS)}."
