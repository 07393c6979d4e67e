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
from metarl.errors import UserError

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


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint: to a temporary file beside it, to the disk, then into place."""
    body = {"format": FORMAT, "order": list(checkpoint.params), "config": checkpoint.config, "state": checkpoint.state}
    text = json.dumps(body, sort_keys=True)
    everything = checkpoint.params | {OUTER + name: value for name, value in checkpoint.outer.items()}
    tensors = {name: value.contiguous() for name, value in everything.items()}
    metadata = {"metarl": text, "sha256": _digest(tensors, text)}
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DamagedCheckpoint: If the file is truncated, altered or not a checkpoint.
        UserError: If it does not exist or a newer version wrote it.
    """
    if not path.exists():
        raise UserError(f"checkpoint {str(path)!r} does not exist")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        body = json.loads(metadata["metarl"])
        if body["format"] > FORMAT:
            number = body["format"]
            raise UserError(
                f"checkpoint {str(path)!r} has format {number}; this version of metarl reads up to {FORMAT}"
            )
        if metadata["sha256"] != _digest(tensors, metadata["metarl"]):
            raise DamagedCheckpoint(f"checkpoint {str(path)!r} is damaged (its checksum does not match)")
        outer = {name.removeprefix(OUTER): value for name, value in tensors.items() if name.startswith(OUTER)}
        params = {name: tensors[name] for name in body["order"]}
        return Checkpoint(params, dict(body["config"]), dict(body["state"]), outer)
    except UserError:
        raise
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise DamagedCheckpoint(f"checkpoint {str(path)!r} is damaged or not a checkpoint ({error})") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens in between.

    Raises:
        UserError: If it cannot be written (a full disk, say); what was there stays.
    """
    temporary = temporary_beside(path)
    try:
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
