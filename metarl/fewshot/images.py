"""N-way K-shot classification of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.errors import UserError
from metarl.fewshot.shots import Examples, Shots
from metarl.seeding import Split

SIDE = 28
"""Pictures are this many pixels high and wide where nobody says otherwise."""


@dataclass(frozen=True)
class Pictures:
    """Pictures by class; ink is bright on dark where they are grey."""

    pixels: NDArray[np.uint8]
    """All of them, class after class, `[M, channels, side, side]`."""
    counts: NDArray[np.int64]
    """How many each class has, `[C]`."""
    names: tuple[str, ...]
    """Name of each class."""
    kind: str = "training"
    """What the classes are for, in words."""
    validation: int | None = None
    """How many of those held out, the first ones, are for validation, where somebody has said which."""

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """Index of each class's first picture, `[C]`."""
        return np.cumsum(self.counts) - self.counts


@dataclass(frozen=True)
class Classes:
    """Tasks that tell N classes apart from K pictures of each.

    With `rotations`, a class turned by 90, 180 or 270 degrees is another class (Santoro et al. 2016).

    Raises:
        UserError: If there are fewer classes than ways, or a class has fewer pictures than shots and queries.
    """

    pictures: Pictures
    ways: int
    shots: int
    queries: int
    rotations: bool = False

    def __post_init__(self) -> None:
        """Check that there are classes and pictures enough."""
        p = self.pictures
        check_enough(p.kind, p.names, p.counts, self.total, self.ways, self.shots, self.queries)

    @property
    def total(self) -> int:
        """Number of classes, those of rotations among them."""
        return len(self.pictures.counts) * (4 if self.rotations else 1)

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[np.int64]:
        """Return the classes of n tasks, `[n, ways]`.

        Of classes that are held out, where nobody has said which are for what, every second is for validation and the
        others for the test; where a half is fewer than the ways, all are for both.
        """
        classes, validation = np.arange(self.total), self.pictures.validation
        if split != "train" and validation is not None:
            classes = classes[:validation] if split == "validation" else classes[validation:]
        elif split != "train" and self.total // 2 >= self.ways:
            classes = classes[classes % 2 == (split == "validation")]
        return np.stack([rng.choice(classes, self.ways, replace=False) for _ in range(n)])

    def draw(self, tasks: NDArray[np.int64], rngs: Iterable[np.random.Generator]) -> Shots:
        """Draw support and query pictures of tasks `[K, ways]`; examples come class after class."""
        p, number = self.pictures, self.shots + self.queries
        classes = tasks % len(p.counts)
        most = int(p.counts.max())
        order = np.stack([rng.random((self.ways, most)) for rng in rngs])
        order[np.arange(most) >= p.counts[classes][..., None]] = 2.0  # beyond a class's pictures: last
        chosen = p.first[classes][..., None] + order.argsort(-1)[..., :number]
        pixels = p.pixels[chosen]  # [K, ways, number, channels, side, side]
        turns = tasks // len(p.counts)
        for quarter in range(1, 4) if self.rotations else ():
            turned = turns == quarter
            pixels[turned] = np.rot90(pixels[turned], quarter, axes=(-2, -1))
        x = torch.from_numpy(pixels).to(torch.get_default_dtype()).div_(255)  # a copy, which may be large
        support, query = (self._batch(x[:, :, part]) for part in (slice(self.shots), slice(self.shots, None)))
        return Shots(support, query)

    def _batch(self, x: torch.Tensor) -> Examples:
        """Return the examples of pictures `[K, ways, n, channels, side, side]`."""
        y = torch.arange(self.ways).repeat_interleave(x.shape[2]).expand(len(x), -1)
        return Examples(x.flatten(1, 2), y)


def check_enough(
    kind: str, names: Sequence[str], counts: NDArray[np.int64], total: int, ways: int, shots: int, queries: int
) -> None:
    """Refuse classes that are too few for the ways, or have too few pictures for shots and queries.

    Args:
        kind: What the classes are for, in words.
        names: Name of each class.
        counts: How many pictures each has, `[C]`.
        total: Number of classes, those of rotations among them.
        ways: Classes of a task.
        shots: Pictures of each class that a task is adapted to.
        queries: Pictures of each class that judge it.

    Raises:
        UserError: If they are; says what is lacking.
    """
    if total < ways:
        raise UserError(f"the {kind} classes are {total}, {ways}-way tasks need {ways} at least")
    fewest = int(counts.argmin())
    if counts[fewest] < shots + queries:
        setting = "queries" if kind == "training" else "eval_queries"
        raise UserError(
            f"{kind} classes: {shots} shots and {queries} queries need {shots + queries} pictures of each class; class"
            f" {names[fewest]!r} has {counts[fewest]} (shots and {setting} are settings)"
        )
