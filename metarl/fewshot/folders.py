"""Pictures from a folder with a folder for each class, Omniglot's and mini-ImageNet's among them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from metarl.errors import UserError, warn
from metarl.fewshot.images import SIDE, Pictures, check_enough

ENDINGS = (".png", ".jpg", ".jpeg")
"""How the names of pictures end, in small letters or large ones."""
OMNIGLOT = {"training": "images_background", "held-out": "images_evaluation"}
"""Omniglot's folders of classes to learn from and of those held out."""
SETS = {"training": ("train",), "validation": ("validation", "val"), "test": ("test",)}
"""Folders of the three sets of classes, by what they are for."""
FIFTH = 5
"""Where a folder has no sets, one class of so many is held out."""
TINT = 8
"""Levels by which the colours of a picture differ that is not grey; JPEG rounds those of a grey one."""


@dataclass(frozen=True)
class ClassSet:
    """Classes of one set."""

    kind: str
    """What they are for, in words."""
    names: tuple[str, ...]
    """Name of each class."""
    files: tuple[tuple[Path, ...], ...]
    """Pictures of each class."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many pictures each class has, `[C]`."""
        return np.array([len(files) for files in self.files], dtype=np.int64)


@dataclass(frozen=True)
class PictureFolder:
    """What a folder holds, before a picture is read."""

    path: str
    """The folder."""
    sets: tuple[ClassSet, ...]
    """Classes to learn from; then those held out, or those for validation and those for the test."""
    given: bool
    """Whether the folder says which classes are in which set."""
    left_out: tuple[Path, ...]
    """Files that are no pictures, or lie in no class's folder."""

    @property
    def total(self) -> int:
        """Number of pictures."""
        return sum(int(part.counts.sum()) for part in self.sets)

    def check_enough(self, ways: int, shots: int, queries: int, eval_queries: int, turns: int = 1) -> None:
        """Refuse sets that are too small.

        Args:
            ways: Classes of a task.
            shots: Pictures of each class that a task is adapted to.
            queries: Pictures of each class that judge it in training.
            eval_queries: Pictures of each class that judge it in an evaluation.
            turns: How many classes a class to learn from is, once it is turned.

        Raises:
            UserError: If one is; says what is lacking, and which classes there are.
        """
        for part in self.sets:
            learnt = part.kind == "training"
            total, judging = len(part.names) * (turns if learnt else 1), queries if learnt else eval_queries
            try:
                check_enough(part.kind, part.names, part.counts, total, ways, shots, judging)
            except UserError as error:
                raise UserError(f"{error}; {self}" if total < ways else str(error)) from error

    def __str__(self) -> str:
        """Say how many classes there are in which set, and why."""
        sizes = [f"{len(part.names)} {part.kind}" for part in self.sets]
        rule = "" if self.given else " (every fifth; FOLDER/train, FOLDER/validation and FOLDER/test would say which)"
        classes = sum(len(part.names) for part in self.sets)
        return f"{self.path!r} has {classes} classes: {', '.join(sizes[:-1])} and {sizes[-1]}{rule}"


def find_pictures(folder: str) -> PictureFolder:
    """Find the classes of a folder, and to which set each belongs.

    Where the folder holds Omniglot's two folders or those of three sets, these say so; else every fifth class is held
    out.

    Raises:
        UserError: If the folder may not be read, holds no pictures, or lacks one of the three sets.
    """
    root, left_out = Path(folder), []
    _check_readable(root)
    try:
        given = _given(root)
        sets = [_class_set(kind, path, left_out) for kind, path in given.items()]
        if not given:
            both = _class_set("training", root, left_out)
            places = [[i for i in range(len(both.names)) if (i % FIFTH == FIFTH - 1) == last] for last in (False, True)]
            sets = [_some(both, kind, which) for kind, which in zip(OMNIGLOT, places, strict=True)]
    except OSError as error:
        raise UserError(f"folder {str(error.filename)!r} may not be read: {error.strerror}") from error
    return PictureFolder(folder, tuple(sets), bool(given), tuple(left_out))


def _check_readable(root: Path) -> None:
    if not os.path.isdir(root):
        raise UserError(f"{str(root)!r} is no folder")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"folder {str(root)!r} may not be read")


def _given(root: Path) -> dict[str, Path]:
    """Return the folders of the sets that a folder holds, by what they are for; none where it has no sets."""
    if (root / OMNIGLOT["training"]).is_dir():
        return {kind: root / name for kind, name in OMNIGLOT.items()}
    below = {path.name.lower(): path for path in root.iterdir()}
    found = {
        kind: [below[name] for name in names if name in below and _holds_folders(below[name])]
        for kind, names in SETS.items()
    }
    held = [path.name for paths in found.values() for path in paths]
    lacking = [" or ".join(SETS[kind]) for kind, paths in found.items() if not paths]
    if len(lacking) > 1:  # a class or a group of classes may have such a name
        return {}
    if lacking or len(held) > len(SETS):
        wrong = f"no {lacking[0]}" if lacking else "one of these twice"
        raise UserError(f"{str(root)!r} holds sets of classes, {', '.join(held)}, but {wrong}; give three, or none")
    return {kind: paths[0] for kind, paths in found.items()}


def _holds_folders(path: Path) -> bool:
    return path.is_dir() and any(inner.is_dir() for inner in path.iterdir() if not inner.name.startswith("."))


def _class_set(kind: str, root: Path, left_out: list[Path]) -> ClassSet:
    """Return all classes below a folder; what belongs to none of them joins those left out."""
    _check_readable(root)
    classes: dict[Path, list[Path]] = {}
    before = len(left_out)
    for file in _files(root):
        if file.suffix.lower() in ENDINGS and file.parent != root:
            classes.setdefault(file.parent, []).append(file)
        else:
            left_out.append(file)
    if not classes:
        others = len(left_out) - before
        there = f"; other files there: {others} ({str(left_out[before])!r})" if others else ""
        raise UserError(f"{str(root)!r} holds no pictures, FOLDER/CLASS/*.png or *.jpg{there}")
    names = tuple(str(path.relative_to(root)) for path in sorted(classes))
    return ClassSet(kind, names, tuple(tuple(sorted(classes[path])) for path in sorted(classes)))


def _some(classes: ClassSet, kind: str, which: list[int]) -> ClassSet:
    return ClassSet(kind, tuple(classes.names[i] for i in which), tuple(classes.files[i] for i in which))


def _files(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield the files below a folder, also where links lead; those whose name begins with a dot are nobody's."""
    real = os.path.realpath(folder)
    if real in above:  # a link leads back
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(Path(entry.path), above | {real})
        else:
            yield Path(entry.path)


@lru_cache(maxsize=1)
def read_folder(found: PictureFolder, side: int = SIDE, colour: bool = False) -> tuple[Pictures, Pictures]:
    """Read the classes to learn from and those held out; warns of what is left out.

    Args:
        found: The folder's classes.
        side: Pixels that a picture becomes high and wide.
        colour: Whether to keep the colours.

    Raises:
        UserError: If a picture is damaged.
    """
    learnt, dropped = _read_set(found.sets[:1], side, colour)
    held_out, also = _read_set(found.sets[1:], side, colour)
    notes = _notes(found, dropped + also)
    if notes:
        warn(f"pictures of {found.path!r}: {'; '.join(notes)}")
    return learnt, held_out


def _read_set(sets: tuple[ClassSet, ...], side: int, colour: bool) -> tuple[Pictures, int]:
    """Return the pictures of sets, one after another, and how many of them lost their colour."""
    files = [file for part in sets for each in part.files for file in each]
    pixels, dropped = np.empty((len(files), 3 if colour else 1, side, side), dtype=np.uint8), 0
    for i, file in enumerate(files):
        pixels[i], tinted = read_picture(file, side, colour)
        dropped += tinted and not colour
    counts, names = np.concatenate([part.counts for part in sets]), tuple(name for part in sets for name in part.names)
    validation = len(sets[0].names) if len(sets) > 1 else None
    return Pictures(pixels, counts, names, " and ".join(part.kind for part in sets), validation), dropped


def _notes(found: PictureFolder, dropped: int) -> list[str]:
    """Return what the user should know of a folder, in words."""
    notes, left = [], found.left_out
    if left:
        notes.append(f"files left out, as no PNG or JPEG or in no class's folder: {len(left)} ({str(left[0])!r})")
    if dropped:
        notes.append(f"pictures that lose their colour, which colour=True (--colour) keeps: {dropped} of {found.total}")
    often = [name for name, times in Counter(name for part in found.sets for name in part.names).items() if times > 1]
    if found.given and len(found.sets) == len(SETS) and often:
        notes.append(f"classes in several sets by their names: {len(often)} ({often[0]!r})")
    return notes


def read_picture(file: Path, side: int = SIDE, colour: bool = False) -> tuple[NDArray[np.uint8], bool]:
    """Return a picture `[channels, side, side]`, a grey one as its negative, and whether it has lost its colour.

    It is a PNG or a JPEG whatever else Pillow could open, some of it by starting other programs.

    Raises:
        UserError: If it is damaged or something else.
    """
    if not file.is_file():  # a pipe would make us wait
        raise UserError(f"picture {str(file)!r} is not a regular file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a date that cannot be read, say
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # gigabytes once it is unpacked
            with Image.open(file, formats=("PNG", "JPEG")) as opened:
                image = _on_white(opened)
                return _pixels(image, side, colour), not colour and _coloured(image)
    except RAISED_BY_PILLOW as error:
        raise UserError(f"picture {str(file)!r} is damaged or no PNG or JPEG ({error})") from error


def _on_white(image: Image.Image) -> Image.Image:
    """Return a picture upright, of 8 bits a channel, and without transparency."""
    image = ImageOps.exif_transpose(image)  # phones turn the picture so
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off
        return Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))


def _pixels(image: Image.Image, side: int, colour: bool) -> NDArray[np.uint8]:
    small = np.asarray(_small(image, "RGB" if colour else "L", side))
    return small.transpose(2, 0, 1) if colour else 255 - small[None]


def _coloured(image: Image.Image) -> bool:
    if len(image.getbands()) == 1 and image.mode != "P":
        return False
    return bool(np.ptp(np.asarray(_small(image, "RGB", SIDE)), axis=-1).max() > TINT)


def _small(image: Image.Image, mode: str, side: int) -> Image.Image:
    return image.convert(mode).resize((side, side), Image.Resampling.BILINEAR)


RAISED_BY_PILLOW = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
