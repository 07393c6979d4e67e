"""Checkpoints: one safetensors file each, written whole or not at all, never a pickle."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from metarl.core.params import Params
from metarl.errors import UserError, did_you_mean

FORMAT = 1
"""Version of the file format; a newer one is refused."""

OUTER = "outer:"
"""Before the names of the outer update's tensors; no param's name holds a colon."""


class DamagedCheckpoint(UserError):
    """A file that is not a whole checkpoint of ours."""


@dataclass(frozen=True)
class Checkpoint:
    """Meta-params and where the run stood."""

    params: Params
    """Meta-params by name."""
    config: dict[str, Any]
    """The run's configuration, as `Config.as_dict` gives it."""
    state: dict[str, Any]
    """Iteration, environment steps and best return so far."""
    outer: dict[str, Tensor] = field(default_factory=dict)
    """What the outer update remembers: Adam's moments, say."""
    run: str | None = None
    """Which run it is of; None for a file of its own."""


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint: to a temporary file beside it, to the disk, then into place."""
    write_atomically(path, encode(checkpoint))


def encode(checkpoint: Checkpoint) -> bytes:
    """Return the file that `save` writes."""
    body = {"format": FORMAT, "order": list(checkpoint.params), "config": checkpoint.config, "state": checkpoint.state}
    text = json.dumps(body | ({} if checkpoint.run is None else {"run": checkpoint.run}), sort_keys=True)
    everything = checkpoint.params | {OUTER + name: value for name, value in checkpoint.outer.items()}
    tensors = {name: value.contiguous() for name, value in everything.items()}
    return safetensors.torch.save(tensors, {"metarl": text, "sha256": _digest(tensors, text)})


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DamagedCheckpoint: If the file is truncated, altered or not a checkpoint.
        UserError: If it does not exist or a newer version wrote it.
    """
    if not path.exists():
        run = path.with_suffix("")
        hint = did_you_mean(str(run), (str(file.parent) for file in run.parent.glob("*/config.json")))
        raise UserError(f"checkpoint {str(path)!r} does not exist, nor a run directory {str(run)!r}{hint}")
    if not path.is_file():  # a pipe would make us wait
        raise UserError(f"checkpoint {str(path)!r} is not a regular file")
    try:
        return decode(path.read_bytes(), f"checkpoint {str(path)!r}")
    except OSError as error:
        raise UserError(f"checkpoint {str(path)!r} cannot be read: {error.strerror}") from error


def decode(data: bytes, what: str) -> Checkpoint:
    """Return the checkpoint that `encode` wrote.

    Args:
        data: The file.
        what: How errors call it.

    Raises:
        DamagedCheckpoint: If the file is truncated, altered or not a checkpoint.
        UserError: If a newer version wrote it.
    """
    try:
        tensors = safetensors.torch.load(data)
        metadata = _header(data)["__metadata__"]
        body = json.loads(metadata["metarl"])
        if body["format"] > FORMAT:
            raise UserError(f"{what} has format {body['format']}; this version of metarl reads up to {FORMAT}")
        if metadata["sha256"] != _digest(tensors, metadata["metarl"]):
            raise DamagedCheckpoint(f"{what} is damaged (its checksum does not match)")
        outer = {name.removeprefix(OUTER): value for name, value in tensors.items() if name.startswith(OUTER)}
        params = {name: tensors[name] for name in body["order"]}
        return Checkpoint(params, dict(body["config"]), dict(body["state"]), outer, body.get("run"))
    except UserError:
        raise
    except NOT_OURS as error:
        raise DamagedCheckpoint(f"{what} is damaged or not a checkpoint ({first_line(error)})") from error


def run_of(path: Path) -> str | None:
    """Return which run a checkpoint is of, from its first bytes; None if it does not say, or is none."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return json.loads(json.loads(file.read(min(length, LONGEST_HEADER)))["__metadata__"]["metarl"]).get("run")
    except (OSError, *NOT_OURS):
        return None


LONGEST_HEADER = 10**8
"""Bytes; safetensors' own limit."""

NOT_OURS = (
    safetensors.SafetensorError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    RecursionError,
    OverflowError,
    MemoryError,
)
"""What reading a file may raise that is not one of ours."""


def _header(data: bytes) -> dict[str, Any]:
    """Return what a safetensors file says of itself."""
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def first_line(error: Exception) -> str:
    """Return an error in one line."""
    return (str(error) or type(error).__name__).splitlines()[0]


def write_atomically(path: Path, data: bytes, make_folder: bool = True) -> None:
    """Write a file so that it is there whole or not at all, whatever happens in between.

    Args:
        path: The file.
        data: What it is to hold.
        make_folder: Whether to make its folder where there is none; a run's is made once, for it may be moved away.

    Raises:
        UserError: If it cannot be written (a full disk, say); what was there stays.
    """
    check_no_device(path)
    temporary = temporary_beside(path)
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_no_device(path: Path) -> None:
    """Refuse to replace what is neither file nor folder: /dev/null, say, which root could."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"cannot write {str(path)!r}: it is no regular file, and would be replaced by one")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file as `write_atomically` does; numbers that are not finite, which JSON lacks, are null."""
    write_atomically(path, json.dumps(_strict(value), indent=2, allow_nan=False).encode())


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _strict(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def temporary_beside(path: Path) -> Path:
    """Return where to write what is to become a file; nobody takes it for the file itself."""
    return path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")


UNFINISHED = ".tmp"
"""How files end that were never finished."""


def _digest(params: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(params):
        digest.update(name.encode())
        digest.update(params[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
