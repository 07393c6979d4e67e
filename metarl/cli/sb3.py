"""metarl sb3."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter

from metarl.cli.console import plain_console
from metarl.cli.options import Sb3
from metarl.cli.output_file import named, output_file
from metarl.cli.parse import parse
from metarl.cli.tables import curve_table
from metarl.errors import UserError, did_you_mean
from metarl.experiment.callbacks import Callback, StopOnSignal
from metarl.experiment.checkpoint import Checkpoint, load, save, write_atomically, write_json
from metarl.experiment.names import find, import_module, is_id
from metarl.experiment.outputs import make_logger
from metarl.experiment.own_files import own_files
from metarl.experiment.presets import IN_ENVIRONMENTS, ON_DATA, PRESETS
from metarl.experiment.signals import quiet_writer, writing
from metarl.experiment.terminal import Terminal
from metarl.rl.ids import registered
from metarl.sb3.convert import model_bytes
from metarl.sb3.reptile import Reptile

ALGORITHMS = {name.lower(): getattr(stable_baselines3, name) for name in ("PPO", "A2C", "SAC", "TD3", "DDPG", "DQN")}
"""Every algorithm that the package itself has for any task; others go by module:Class."""


@quiet_writer()
def sb3(args: list[str]) -> int:
    """Meta-train by Reptile over an algorithm of stable-baselines3, and show the adaptation curve."""
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        raise UserError("sb3 needs an environment or a preset first; 'metarl envs' and 'metarl presets' list them")
    command: Sb3 = parse(Sb3, args, "metarl sb3")
    out = output_file(command.out if command.out.suffix else command.out.with_suffix(".zip"))
    command = dataclasses.replace(command, out=out, json=output_file(command.json))
    if command.log_dir is not None and (there := own_files(command.log_dir)) and not command.resume:
        raise UserError(f"{str(command.log_dir)!r} holds a run's {', '.join(there)}; choose another --log-dir")
    if command.iterations < 1 or command.tasks < 0:
        raise UserError(f"iterations must be at least 1 and tasks 0, got {command.iterations} and {command.tasks}")
    reptile = _reptile(command)
    progress = _Progress(command)
    if command.resume:
        progress.go_on(reptile)
    console = plain_console(soft_wrap=True)
    shown = f"{reptile.title}: Reptile over {reptile.algorithm.__name__}, {command.iterations} x {command.k:,} steps"
    console.print(f"{shown}, writing {named(out)}")
    outputs: list[KVWriter] = [Terminal(command.iterations, reptile.title)]
    if command.log_dir is not None:
        outputs.append(_Logs(command.log_dir, reptile.env_steps))
    try:
        if (left := command.iterations - reptile.iteration) > 0:
            stop = StopOnSignal()
            reptile.learn(left, [stop, _Save(command.out), progress, stop.last()], outputs)
            stop.tell()
        else:
            console.print(f"nothing left to do: {reptile.iteration} meta-iterations are done")
        if command.tasks:
            curve = reptile.adaptation_curve(command.steps, command.tasks, command.episodes, command.seed)
            console.print(curve_table(curve))
            if command.json is not None:
                write_json(command.json, curve.as_dict())
    finally:
        reptile.close()
        for output in outputs:
            output.close()
    console.print(f"wrote {named(out)}: stable_baselines3.{reptile.algorithm.__name__}.load reads it")
    return 0


class _Logs(KVWriter):
    """TensorBoard and CSV, whose errors are a line.

    Args:
        folder: Where they are.
        step: Environment steps done so far.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.what = f"the logs in {str(folder)!r}"
        with writing(self.what):
            folder.mkdir(parents=True, exist_ok=True)
            self.outputs = make_logger(folder, step, []).output_formats

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write the numbers of a meta-iteration."""
        with writing(self.what):
            for output in self.outputs:
                output.write(key_values, key_excluded, step)

    def close(self) -> None:
        """Close the files."""
        with writing(self.what):
            for output in self.outputs:
                output.close()


class _Save(Callback):
    """Writes the model after each meta-iteration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_iteration(self, trainer: Any, metrics: dict[str, float]) -> None:
        """Write it."""
        write_atomically(self.path, model_bytes(trainer.model))


class _Progress(Callback):
    """Writes where the training stands beside the model, whose own file would be unpickled when it is read.

    Args:
        command: The options; a training goes on with the same.
    """

    def __init__(self, command: Sb3) -> None:
        self.path = command.out.with_suffix(".progress.safetensors")
        length = ("iterations",) if not command.decay else ()  # which decay depends on
        aside = {*length, "out", "resume", "json", "log_dir", "steps", "tasks", "episodes"}
        self.options = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(command).items()
            if name not in aside
        }

    def go_on(self, reptile: Reptile) -> None:
        """Take up the training that is there; where there is none, it begins.

        Raises:
            UserError: If it was another, or the file is damaged.
        """
        if not self.path.exists():
            return
        found = load(self.path)
        differ = [name for name, value in self.options.items() if found.config.get(name) != value]
        if differ:
            changes = ", ".join(f"{name}: {found.config.get(name)} -> {self.options[name]}" for name in differ)
            raise UserError(f"cannot go on with {self.path}: its options differ: {changes}")
        reptile.go_on_from({"policy": found.params, "loose": found.outer}, **found.state)

    def on_iteration(self, trainer: Any, metrics: dict[str, float]) -> None:
        """Write it."""
        state = trainer.state()
        stands = {"iteration": trainer.iteration, "env_steps": trainer.env_steps}
        with writing(str(self.path)):
            save(Checkpoint(state["policy"], self.options, stands, state["loose"]), self.path)


def _reptile(command: Sb3) -> Reptile:
    settings = _settings(command.settings)
    of_env: dict[str, Any] = {"horizon": command.horizon}
    source: Any = command.env
    if command.env in ON_DATA:
        raise UserError(f"stable-baselines3 learns in environments; {command.env} is of {ON_DATA[command.env].title}")
    if command.env in IN_ENVIRONMENTS:
        config = IN_ENVIRONMENTS[command.env]
        source, horizon = config.env, command.horizon or config.horizon
        of_env = {"horizon": horizon, "env_options": config.env_options}
        settings = {"gamma": config.discount, **settings}
    elif ":" in command.env:
        import_module(command.env.partition(":")[0])
        if not is_id(command.env):
            source = find(command.env)
    elif command.env not in registered() and not is_id(command.env):
        near = did_you_mean(command.env, [*PRESETS, *registered()]) or ";"
        raise UserError(f"unknown environment or preset {command.env!r}{near} 'metarl envs' lists all of ours")
    return Reptile(
        source,
        _algorithm(command.algorithm),
        k=command.k,
        epsilon=command.epsilon,
        decay_iterations=command.iterations * command.decay,
        num_envs=command.num_envs,
        seed=command.seed,
        **of_env,
        **settings,
    )


def _algorithm(name: str) -> type[BaseAlgorithm]:
    if ":" in name:
        return find(name)
    if name.lower() not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise UserError(f"unknown algorithm {name!r}{did_you_mean(name.lower(), ALGORITHMS)}; there are {known}")
    return ALGORITHMS[name.lower()]


def _settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return NAME=VALUE pairs as keyword arguments; what is no Python literal is text."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.isidentifier():
            raise UserError(f"--settings takes pairs such as learning_rate=1e-3, got {pair!r}")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings
