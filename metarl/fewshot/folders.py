"""Pictures from a folder with a folder for each class, Omniglot's among them."""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from metarl.errors import UserError
from metarl.fewshot.images import SIDE, Pictures

SPLIT = ("images_background", "images_evaluation")
"""Omniglot's folders of classes to learn from and of those held out."""


@cache
def read_folder(folder: str, held_out: bool) -> Pictures:
    """Read the classes to learn from, or those held out.

    Where the folder holds Omniglot's two, these are they; else every fifth class is held out.
    Pictures are dark ink on bright paper, of any size.

    Raises:
        UserError: If the folder may not be read or holds no pictures, or one of them is damaged.
    """
    root = Path(folder)
    given = (root / SPLIT[0]).is_dir()
    if given:
        root = root / SPLIT[held_out]
    if not os.path.isdir(root):
        raise UserError(f"{str(root)!r} is no folder")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"folder {str(root)!r} may not be read")
    classes = sorted({file.parent for file in root.rglob("*.png")})
    if not classes:
        raise UserError(f"{str(root)!r} holds no pictures, FOLDER/CLASS/*.png")
    if not given:
        classes = [path for i, path in enumerate(classes) if (i % 5 == 4) == held_out]
    pixels, counts = [], []
    for path in classes:
        files = sorted(path.glob("*.png"))
        counts.append(len(files))
        pixels += [_read(file) for file in files]
    names = tuple(str(path.relative_to(root)) for path in classes)
    return Pictures(np.array(pixels, dtype=np.uint8).reshape(-1, SIDE, SIDE), np.array(counts, dtype=np.int64), names)


def _read(file: Path) -> np.ndarray:
    """Read a picture, which is a PNG whatever else Pillow could open, some of it by starting other programs."""
    if not file.is_file():  # a pipe would make us wait
        raise UserError(f"picture {str(file)!r} is not a regular file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # gigabytes once it is unpacked
            with Image.open(file, formats=("PNG",)) as image:
                small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except RAISED_BY_PILLOW as error:
        raise UserError(f"picture {str(file)!r} is damaged or no PNG ({error})") from error
    return 255 - np.asarray(small)


RAISED_BY_PILLOW = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
