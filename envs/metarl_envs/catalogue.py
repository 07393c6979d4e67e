"""The table of all families, made from their docstrings, spaces and signatures."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator

from metarl_envs.family import Family
from metarl_envs.physics import RandomPhysics


@dataclass(frozen=True)
class Entry:
    """What the catalogue says of one family."""

    env_id: str
    """Gymnasium id."""
    task: str
    """What the task asks for."""
    task_space: str
    """The space of the tasks."""
    reward: str
    """Formula of the reward."""
    observation: str
    """Size of the observation."""
    action: str
    """The space of the actions."""
    horizon: int
    """Steps of an episode."""
    ends: str
    """Where an episode terminates."""
    source: str
    """Paper and file."""
    differs: str
    """Known deviations from the source."""
    options: str
    """Keyword arguments with their defaults."""


def catalogue(horizons: dict[str, int]) -> list[Entry]:
    """Return the entries of the families, given as in `HORIZONS`."""
    return [entry(key.split(":")[1], horizon) for key, horizon in horizons.items()]


def entry(name: str, horizon: int) -> Entry:
    """Return the entry of one family."""
    # the family alone: its environment may need models that are not installed
    env_type: Any = load_env_creator(str(gymnasium.spec(f"metarl/{name}-v0").vector_entry_point))
    family: Family = env_type.family_type()
    paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(type(family)) or "").split("\n\n")]
    task, reward = paragraphs[0].removesuffix(".").split("; reward ")
    found = {
        part.split(":")[0]: part.split(": ", 1)[1] for part in paragraphs if part.startswith(("Source:", "Differs:"))
    }
    return Entry(
        env_id=f"metarl/{name}-v0",
        task=task,
        task_space=_space(family.task_space),
        reward=reward,
        observation=f"{family.observation_space.shape[0]}-d" if family.observation_space.shape else "",
        action=_space(family.action_space),
        horizon=horizon,
        ends=_ends(family),
        source=found["Source"].removesuffix("."),
        differs=found.get("Differs", "").removesuffix("."),
        options=_options(type(family)),
    )


def table(entries: list[Entry]) -> str:
    """Return the families as a Markdown table."""
    header = ["Id", "Task", "Task space", "Reward", "Observation", "Action", "Horizon", "Ends where"]
    rows = [
        [f"`{e.env_id}`", e.task, e.task_space, e.reward, e.observation, e.action, str(e.horizon), e.ends]
        for e in entries
    ]
    return markdown(header, rows)


def details(entries: list[Entry], pictures: str) -> str:
    """Return sources, deviations, options and pictures (in the folder `pictures`) as a Markdown table."""
    header = ["", "Id", "Source", "Known deviations", "Options"]
    rows = []
    for e in entries:
        name = e.env_id.removeprefix("metarl/").removesuffix("-v0")
        picture = f'<img src="{pictures}/{name}.png" width="120" alt="{name}">'
        rows.append([picture, f"`{e.env_id}`", e.source, e.differs or "none", e.options])
    return markdown(header, rows)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _space(space: spaces.Space) -> str:
    if type(space) is not spaces.Box:
        return str(space)
    low, high = sorted({f"{x:g}" for x in space.low}), sorted({f"{x:g}" for x in space.high})
    if len(low) == len(high) == 1:
        return f"[{low[0]}, {high[0]}]" + _power(space.shape[0])
    return f"{space.shape[0]} numbers"


def _power(n: int) -> str:
    return "" if n == 1 else str(n).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _ends(family: Family) -> str:
    method: Any = type(family).terminated
    if not getattr(family, "terminate_when_unhealthy", True) or method is Family.terminated:
        return "never"
    if isinstance(family, RandomPhysics):
        return _ends(family.base)
    return re.sub(r"^Return where ", "", (inspect.getdoc(method) or "").removesuffix("."))


def _options(family: type[Family]) -> str:
    """Return the keyword arguments, also those that a family passes on as `**options`."""
    shown: dict[str, str] = {}
    for cls in family.__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]
        for item in parameters:
            if item.default is not inspect.Parameter.empty:
                shown.setdefault(item.name, f"`{item.name}={item.default!r}`")
        # a family that passes **options on has also the options of the next one in line
        if all(item.kind is not inspect.Parameter.VAR_KEYWORD for item in parameters):
            break
    return ", ".join(shown.values())
