"""metarl completion: a script by which bash or zsh completes commands, options, presets and environments.

tyro writes such scripts for a command line that it parses as a whole; here each command has a parser of its own.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Literal, get_args, get_origin, get_type_hints

import tyro

from metarl.cli.helptext import documented
from metarl.cli.main import COMMANDS
from metarl.cli.parse import parse
from metarl.experiment.config import Config
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.experiment.presets import PRESETS
from metarl.methods import METHODS
from metarl.models.pretrained import cards
from metarl.outer import OUTERS
from metarl.rl.ids import registered


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print a script by which a shell completes what is typed after `metarl`."""

    shell: tyro.conf.Positional[Literal["bash", "zsh"]]
    """The shell."""


@dataclasses.dataclass(frozen=True)
class Option:
    """An option: its sentence, and what it may be, if that is one of a few words."""

    about: str
    choices: tuple[str, ...] = ()


def completion(args: list[str]) -> int:
    """Print the script."""
    shell = parse(Completion, args, "metarl completion").shell
    print({"bash": bash, "zsh": zsh}[shell](), end="")
    return 0


def first_words() -> dict[str, list[str]]:
    """Return what may come right after a command, beside files and folders."""
    trained, saved = [*PRESETS, *registered()], [f"pretrained:{name}" for name in sorted(cards())]
    return {
        **dict.fromkeys(("train", "tune", "benchmark", "sb3"), trained),
        **dict.fromkeys(("eval", "video", "export", "analyse"), saved),
        "envs": list(registered()),
        "completion": ["bash", "zsh"],
    }


def options() -> dict[str, dict[str, Option]]:
    """Return the options of every command."""
    found = {name: _options(_kind(name)) for name in COMMANDS}
    parts = (Config, FewShotConfig, *map(type, METHODS.values()), *OUTERS.values())
    settings = {name: option for kind in reversed(parts) for name, option in _options(kind).items()}
    found["train"] = settings | found["train"]
    found["train"] |= {
        "--method": Option("Method, or module:Class of your own.", tuple(METHODS)),
        "--outer": Option("Outer update.", tuple(OUTERS)),
        "--callback": Option("module:name of a callback of your own."),
        "--import": Option("Module of yours that holds what the run is made with."),
        "--settings": Option("TOML or JSON file of settings, instead of a preset."),
    }
    found["tune"]["--method"] = Option("Method.", tuple(METHODS))
    return {name: {**dict(sorted(found[name].items())), "--help": Option("Show all options.")} for name in COMMANDS}


def _kind(command: str) -> type[Any]:
    """Return the dataclass of a command's options, which has the command's name in the command's module."""
    module, *_ = COMMANDS[command]
    return getattr(import_module(f"metarl.cli.{module}"), command.capitalize())


def _options(kind: type[Any]) -> dict[str, Option]:
    """Return the options that a dataclass becomes."""
    hints, docs = get_type_hints(kind, include_extras=True), documented(kind)
    found: dict[str, Option] = {}
    for f in dataclasses.fields(kind):
        hint = hints[f.name]
        marks = getattr(hint, "__metadata__", ())
        if f.name in ("config", "outer") or any(mark in marks for mark in NO_OPTION):
            continue
        name = next((mark.name for mark in marks if getattr(mark, "name", None)), f.name).replace("_", "-")
        about = " ".join(docs.get(f.name, "").partition(". ")[0].split())
        found[f"--{name}"] = Option(about, tuple(map(str, _choices(hint))))
        if hint is bool:
            found[f"--no-{name}"] = found[f"--{name}"]
    return found


def _choices(hint: Any) -> Iterable[Any]:
    """Return the words of the literals in a type."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return [word for inner in get_args(hint) for word in _choices(inner)]


NO_OPTION = [mark for kind in (tyro.conf.Positional[int], tyro.conf.Suppress[int]) for mark in get_args(kind)[1:]]
"""What marks a field that is no option."""


BASH = """# completes metarl in bash: written by `metarl completion bash`
_metarl() {
  local line="${COMP_LINE:0:COMP_POINT}" words= typed
  read -ra typed <<< "$line"
  [[ $line == *[[:space:]] ]] && typed+=("")
  local at=$((${#typed[@]} - 1))
  local current="${typed[at]}" command="${typed[1]}"
  case "$command ${typed[at - 1]}" in
@values
  esac
  if ((at == 1)); then
    words='@commands'
  elif [[ $current == -* ]]; then
    case $command in
@options
    esac
  elif ((at == 2)); then
    case $command in
@first
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  local colons="${current%"${current##*:}"}"  # bash takes what is before a colon for another word
  COMPREPLY=("${COMPREPLY[@]#"$colons"}")
}
complete -o bashdefault -o default -F _metarl metarl
"""

ZSH = """#compdef metarl
# completes metarl in zsh: written by `metarl completion zsh`
local -a found
if ((CURRENT == 2)); then
  found=(@commands)
  _describe command found
  return
fi
case "$words[2] $words[CURRENT-1]" in
@values
esac
if (($#found)); then
  _describe value found
elif [[ $words[CURRENT] == -* ]]; then
  case $words[2] in
@options
  esac
  _describe -o option found
else
  if ((CURRENT == 3)); then
    case $words[2] in
@first
    esac
    (($#found)) && _describe name found
  fi
  _files
fi
"""


def bash() -> str:
    """Return the script for bash."""
    known = options()
    return _filled(
        BASH,
        commands=" ".join(COMMANDS),
        values=[f"{name}) words={shlex.quote(' '.join(words))} ;;" for name, words in _values(known)],
        options=[f"{command}) words={shlex.quote(' '.join(names))} ;;" for command, names in known.items()],
        first=[f"{command}) words={shlex.quote(' '.join(words))} ;;" for command, words in first_words().items()],
    )


def zsh() -> str:
    """Return the script for zsh, which shows a sentence beside each word."""
    known = options()
    about = {command: {name: option.about for name, option in found.items()} for command, found in known.items()}
    return _filled(
        ZSH,
        commands=_described({name: text for name, (*_, text) in COMMANDS.items()}),
        values=[f"{name}) found=({' '.join(words)}) ;;" for name, words in _values(known)],
        options=[f"{command}) found=({_described(found)}) ;;" for command, found in about.items()],
        first=[f"{command}) found=({_described(dict.fromkeys(w, ''))}) ;;" for command, w in first_words().items()],
    )


def _values(known: Mapping[str, Mapping[str, Option]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each option that takes one of a few words, as the pattern of a case."""
    for command, found in known.items():
        for name, option in found.items():
            if option.choices:
                yield f"'{command} {name}'", option.choices


def _described(words: Mapping[str, str]) -> str:
    """Return words and their sentences as zsh's `_describe` takes them."""
    parts = (word.replace(":", "\\:") + f":{about}" * bool(about) for word, about in words.items())
    return " ".join(map(shlex.quote, parts))


def _filled(script: str, commands: str, **cases: list[str]) -> str:
    for name, lines in cases.items():
        script = script.replace(f"@{name}", "\n".join(f"    {line}" for line in lines))
    return script.replace("@commands", commands)
