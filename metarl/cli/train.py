"""metarl train."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from metarl.cli.console import plain_console
from metarl.cli.own import imports, typed_method, typed_modules
from metarl.cli.seeds import train_seeds
from metarl.cli.start import start, title
from metarl.cli.tables import show_curve
from metarl.cli.train_options import SHOWN, Train, parse_train, typed_names
from metarl.errors import UserError, check_known
from metarl.experiment.base_config import Settings
from metarl.experiment.callbacks import as_callback
from metarl.experiment.directory import RunDirectory
from metarl.experiment.names import find, name_of
from metarl.experiment.own_files import new_folder
from metarl.experiment.parts import Parts, typed_parts
from metarl.experiment.preset_file import stated
from metarl.experiment.presets import ON_DATA
from metarl.experiment.run import resume
from metarl.experiment.run import train as run_training
from metarl.experiment.settings import check_method, say_brought, sized, with_method
from metarl.experiment.terminal import Terminal
from metarl.experiment.trainer import Trainer
from metarl.methods import METHODS
from metarl.outer import OUTERS

TYPED = ("--method", "--env", "--data", "--policy", "--baseline", "--inner-loss", "--import", "--callback")
"""Options that may name somebody's module, which is imported because the user typed it."""


def train(args: list[str]) -> int:
    """Meta-train a preset, or an environment, and show the adaptation curve."""
    args = _with_settings_first([part for arg in args for part in _split(arg)])
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        near = _preset_of(args)
        raise UserError(f"train needs a preset or an environment first{near}; 'metarl presets' lists the presets")
    name, rest = args[0], args[1:]
    shown = name in ("-h", "--help")
    if shown:
        name, rest = SHOWN, ["--help"]
    typed = [name, *(value for option in TYPED for value in _values(rest, option))]
    modules = typed_modules(typed, _values(rest, "--import"))
    callbacks, rest = _callbacks(rest)
    rest = _without(rest, "--import")
    config = start(name, modules)
    chosen, keep = _chosen(rest), typed_names(rest) | stated(name)
    suited = _with(sized(config, _sizes(rest)), chosen, keep)
    command = parse_train("PRESET" if shown else name, _left(rest), Train(suited), keep)
    if command.seeds is not None:
        return _several(name, args[1:], command)
    if command.jobs != 1:
        raise UserError(f"--jobs {command.jobs} is for several trainings; give --seeds as well")
    if command.resume and command.log_dir is None:
        raise UserError("--resume needs --log-dir, the run directory to go on with")
    method: Any = command.config.method
    if command.resume and command.log_dir is not None and not RunDirectory(command.log_dir).empty:
        begun = _begun(command.log_dir, command.config, chosen, modules)
        as_begun = Train(_with(begun, chosen, keep), command.log_dir)  # what is not typed
        command = parse_train(name, _left(rest), as_begun, keep)
        method = begun.method
    if chosen["--method"] in METHODS:
        check_method(chosen["--method"], command.config.method)
    parts = typed_parts(command.config.named_parts, modules)
    if not command.resume and (changed := say_brought(config, command.config, keep)):
        print(f"metarl: {changed}")
    return _run(name, command, parts, callbacks, method)


def _preset_of(args: list[str]) -> str:
    """Return in words which preset has the data that are typed, if one has."""
    found = [name for name, config in ON_DATA.items() if config.data in _values(args, "--data")]
    return "".join(f", 'metarl train {name} ...' for data {ON_DATA[name].data}" for name in found[:1])


def _begun(log_dir: Path, typed: Settings, chosen: dict[str, str | None], modules: Collection[str]) -> Settings:
    """Return the settings with which the run in a directory began.

    Raises:
        UserError: If it is a run of another environment or data.
    """
    directory = RunDirectory(log_dir)
    begun = directory.config(_typed_method(log_dir, chosen, modules))
    if begun.origin != typed.origin:
        raise UserError(f"{log_dir} holds a run of {begun.origin}, not of {typed.origin}")
    for note in directory.changed_defaults(begun, typed):
        print(f"metarl: {note}")
    return dataclasses.replace(begun, workers="local")  # no file says where to connect to


def _with_settings_first(args: list[str]) -> list[str]:
    """Return the arguments with the file of `--settings`, or of a run to go on with, where a preset would stand.

    A preset that follows `--resume` comes first too.
    """
    if args[:1] == ["--resume"] and args[1:] and not args[1].startswith("-"):
        args = [args[1], args[0], *args[2:]]
    files = _values(args, "--settings")
    if not files:
        folders = _values(args, "--log-dir")
        if "--resume" not in args or not folders or not args[0].startswith("-"):
            return args
        record = Path(folders[-1]) / "config.json"
        if not record.exists():
            raise UserError(f"there is no run in {folders[-1]!r}: to begin one, or several, type a preset first")
        return [str(record), *args]
    if len(files) > 1 or not args[0].startswith("-"):
        raise UserError("train takes one preset, environment or --settings FILE")
    return [files[0], *_without(args, "--settings")]


def _several(name: str, args: list[str], command: Train) -> int:
    """Train with several seeds, each in a process of its own."""
    if command.resume and command.log_dir is None:
        raise UserError("--resume needs --log-dir, the folder of the seeds to go on with")
    assert command.seeds is not None
    for option in ("--seeds", "--jobs", "--seed", "--log-dir"):
        args = _without(args, option)
    args = [arg for arg in args if arg != "--resume"]
    log_dir = command.log_dir or new_folder(Path("runs") / title(name))
    own = imports(command.config.own_modules)
    return train_seeds(name, args, command.config.seed, command.seeds, command.jobs, log_dir, command.resume, own)


def _run(name: str, command: Train, parts: Parts, callbacks: list[Any], method: Any) -> int:
    console = plain_console(soft_wrap=True)
    callbacks = [as_callback(callback) for callback in callbacks]  # before anything is written
    if not command.resume:
        command.config.check_heeded()
        if command.log_dir is not None:
            RunDirectory(command.log_dir).check_free()
    with closing(Trainer(command.config, parts)) as trainer:
        log_dir = command.log_dir or new_folder(Path("runs") / title(name))
        directory = RunDirectory(log_dir)
        if command.resume:
            for note in resume(trainer, directory, method):
                console.print(f"metarl: {note}")
        else:
            trainer.check()
            directory.create(command.config)
        total = trainer.config.iterations
        console.print(f"{title(name)}: {trainer.config.title}, {total} meta-iterations, writing to {log_dir}")
        curve = None
        if (done := trainer.progress.iteration) >= total:
            console.print(f"nothing left to do: {done} meta-iterations are done; --iterations N goes on to N of them")
        else:
            curve = run_training(trainer, total, directory, [Terminal(total, title(name))], callbacks=callbacks)
            if (done := trainer.progress.iteration) < total:
                console.print(f"a callback ended the run after {done} of {total} meta-iterations")
        show_curve(console, curve or trainer.evaluate(), trainer.config)
    folder = shlex.quote(str(log_dir))
    again = f"metarl eval {folder}{imports(command.config.own_modules)}"
    console.print(f"\nLook further:\n  tensorboard --logdir {folder}\n  {again}", markup=False)
    return 0


def _callbacks(args: list[str]) -> tuple[list[Any], list[str]]:
    return [find(name) for name in _values(args, "--callback")], _without(args, "--callback")


def _chosen(args: list[str]) -> dict[str, str | None]:
    """Return the method and the outer update that are asked for by name."""
    method, outer = (next(iter(reversed(_values(args, option))), None) for option in ("--method", "--outer"))
    for option, value, known in (("method", method, METHODS), ("outer", outer, OUTERS)):
        if value is not None and not (option == "method" and ":" in value):
            check_known(option, value, known, " or module:Class" * (option == "method"))
    return {"--method": method, "--outer": outer}


def _sizes(args: list[str]) -> dict[str, int]:
    """Return the tasks and episodes that are typed, which say how long an iteration is."""
    typed = {name: _values(args, f"--{name}") for name in ("tasks", "episodes")}
    return {name: int(v[-1]) for name, v in typed.items() if v and v[-1].isdecimal() and int(v[-1])}


def _with(config: Settings, chosen: Mapping[str, str | None], keep: Collection[str]) -> Settings:
    """Apply `--method` and `--outer`, whose settings the other options then change."""
    name = chosen["--method"]
    method = name if name is None or ":" not in name else typed_method(name, config)
    return with_method(config, method, chosen["--outer"], keep)


def _typed_method(log_dir: Path, chosen: Mapping[str, str | None], modules: Collection[str]) -> Any:
    """Return the class of a run's own method, if the user typed its name or its module."""
    name = RunDirectory(log_dir).method_name()
    if name is None or ":" not in name:
        return None
    typed = chosen["--method"]
    if typed is not None and ":" in typed:  # an object, of a class of yet another module
        own = find(typed)
        kind = own if isinstance(own, type) else type(own)
        if name_of(kind) == name:
            return own
    return find(name) if name.partition(":")[0] in modules else None


def _left(args: list[str]) -> list[str]:
    return _without(_without(args, "--method"), "--outer")


def _split(arg: str) -> list[str]:
    """Return an option with hyphens, as it may be typed otherwise, and its value apart where it may name a module."""
    if not arg.startswith("--"):
        return [arg]
    option, sign, value = arg.partition("=")
    option = option.replace("_", "-")
    return [option, value] if sign and option in TYPED else [f"{option}{sign}{value}"]


def _apart(args: list[str], option: str) -> list[str]:
    """Return the arguments, an option's value apart from it where both are typed as one."""
    return [part for arg in args for part in (arg.split("=", 1) if arg.startswith(f"{option}=") else [arg])]


def _values(args: list[str], option: str) -> list[str]:
    """Return what follows each time an option is typed."""
    args = _apart(args, option)
    return [args[at + 1] if at + 1 < len(args) else "" for at, arg in enumerate(args) if arg == option]


def _without(args: list[str], option: str) -> list[str]:
    """Return the arguments without an option and its values."""
    args = _apart(args, option)
    return [arg for at, arg in enumerate(args) if arg != option and (at == 0 or args[at - 1] != option)]
