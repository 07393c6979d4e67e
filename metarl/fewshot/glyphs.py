"""Pictures of letters in many scripts, drawn from matplotlib's bundled DejaVu fonts: nothing to download."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from metarl.fewshot.images import SIDE, Pictures

TRAIN = ("LATIN", "CANADIAN", "CYRILLIC", "GEORGIAN", "ARABIC")
"""Scripts to learn from, by the first word of the letters' Unicode names."""
TEST = ("GREEK", "ARMENIAN", "TIFINAGH", "LISU", "LAO", "OLD", "HEBREW", "NKO")
"""Scripts held out; OLD is Old Italic."""
DRAWERS = 20
"""Pictures of each letter: faces, upright and slanted, serif or not, each with a jitter of its own."""
SIZE = 20
"""Size of the letters in pixels."""


@cache
def glyphs(held_out: bool) -> Pictures:
    """Draw all letters of the scripts to learn from, or of those held out."""
    faces, letters = _faces(), _letters(TEST if held_out else TRAIN)
    fonts = {face: ImageFont.truetype(str(face), SIZE, layout_engine=ImageFont.Layout.BASIC) for face in faces}
    pixels, names, seen = [], [], set() if not held_out else set(_shapes())
    for letter, found in letters.items():
        upright = [_draw(letter, fonts[face]) for face in found]
        shape = upright[0].tobytes()
        if shape in seen:  # a Greek Α is a Latin A
            continue
        seen.add(shape)
        names.append(letter)
        rng = np.random.default_rng([ord(letter), DRAWERS])
        pixels += [_jitter(upright[drawer % len(found)], rng) for drawer in range(DRAWERS)]
    kind = "held-out" if held_out else "training"
    return Pictures(np.stack(pixels)[:, None], np.full(len(names), DRAWERS), tuple(names), kind)


def script(letter: str) -> str:
    """Return a letter's script, as `TRAIN` and `TEST` name it."""
    return unicodedata.name(letter).split()[0]


@cache
def _faces() -> dict[Path, frozenset[int]]:
    """Return the fonts and the characters each has."""
    import matplotlib  # here, because policies need none of it
    from matplotlib.ft2font import FT2Font

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = sorted(file for file in folder.glob("DejaVu*.ttf") if "Display" not in file.name)
    return {file: frozenset(FT2Font(str(file)).get_charmap()) for file in files}


def _letters(scripts: tuple[str, ...]) -> dict[str, list[Path]]:
    """Return the letters of scripts and the faces that have them; letters with accents and the like are left out."""
    faces = _faces()
    found: dict[str, list[Path]] = {}
    for code in sorted(frozenset().union(*faces.values())):
        letter = chr(code)
        if unicodedata.category(letter) not in ("Lu", "Ll", "Lo") or unicodedata.decomposition(letter):
            continue
        if script(letter) in scripts:
            found[letter] = [face for face, codes in faces.items() if code in codes]
    return {letter: having for letter, having in found.items() if len(having) > 1}


@cache
def _shapes() -> frozenset[bytes]:
    """Return the shapes of the letters to learn from, in their first faces."""
    fonts = {face: ImageFont.truetype(str(face), SIZE, layout_engine=ImageFont.Layout.BASIC) for face in _faces()}
    return frozenset(_draw(letter, fonts[found[0]]).tobytes() for letter, found in _letters(TRAIN).items())


def _draw(letter: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Return a letter in the middle of its picture, smaller where it is too wide."""
    left, top, right, bottom = font.getbbox(letter)
    side = max(SIDE, int(right - left) + 2, int(bottom - top) + 2)
    image = Image.new("L", (side, side))
    corner = ((side - right - left) / 2, (side - bottom - top) / 2)
    ImageDraw.Draw(image).text(corner, letter, fill=255, font=font)
    return image if side == SIDE else image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def _jitter(image: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture a little turned, scaled, slanted and moved."""
    angle, shear = rng.uniform(-0.2, 0.2), rng.uniform(-0.15, 0.15)
    scale, shift = rng.uniform(0.9, 1.15, 2), rng.uniform(-2, 2, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(scale)
    offset = SIDE / 2 - matrix @ (np.full(2, SIDE / 2) + shift)
    (a, b), (c, d) = matrix
    values = (a, b, offset[0], c, d, offset[1])
    moved = image.transform((SIDE, SIDE), Image.Transform.AFFINE, values, Image.Resampling.BILINEAR)
    return np.asarray(moved)
