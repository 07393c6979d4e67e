"""Task spaces that a Box does not describe: signs, indices, cells, circles, and two spaces side by side."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = NDArray[np.float64]
Seed = int | np.random.Generator | None

ROUNDING = 1e-6
"""How far a task may lie off a circle."""


def interval(low: float, high: float, name: str) -> spaces.Box:
    """Return the space of one number between low and high.

    Raises:
        ValueError: If low is not less than high; names the family.
    """
    if not low < high:
        raise ValueError(f"{name}: low must be less than high, got low={low}, high={high}")
    return spaces.Box(low, high, (1,), np.float64)


class Signs(spaces.Box):
    """The vectors of -scale and +scale of the given length: directions along an axis, corners of a square."""

    def __init__(self, size: int = 1, scale: float = 1.0, seed: Seed = None) -> None:
        super().__init__(-scale, scale, (size,), np.float64, seed)
        self.scale = scale

    def contains(self, x: object) -> bool:
        """Return whether x is a vector of -scale and +scale."""
        return super().contains(x) and bool(np.all(np.abs(np.asarray(x)) == self.scale))

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n vectors, `[n, size]`, each sign with probability one half."""
        return rng.choice([-self.scale, self.scale], size=(n, *self.shape))

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draw a vector."""
        return self.draw(1, self.np_random)[0]

    def __repr__(self) -> str:
        """Show the set, which Box's bounds would hide."""
        return f"Signs({{-{self.scale:g}, +{self.scale:g}}}^{self.shape[0]})"


class Index(spaces.Box):
    """One of the numbers 0, ..., n - 1, as a vector of one float."""

    def __init__(self, n: int, seed: Seed = None) -> None:
        super().__init__(0.0, float(n - 1), (1,), np.float64, seed)
        self.n = n

    def contains(self, x: object) -> bool:
        """Return whether x is a vector of one whole number below n."""
        return super().contains(x) and bool(np.all(np.asarray(x) % 1 == 0))

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draw each number with the same probability."""
        return self.np_random.integers(self.n, size=self.shape).astype(np.float64)

    def __repr__(self) -> str:
        """Show the set, which Box's bounds would hide."""
        return f"Index({{0, ..., {self.n - 1}}})"


class Cells(spaces.Box):
    """The cells of a square grid that are not within one cell of the corner (0, 0), as coordinates.

    Args:
        side: Cells along a side.
        seed: See Gymnasium.
    """

    def __init__(self, side: int, seed: Seed = None) -> None:
        super().__init__(0.0, float(side - 1), (2,), np.float64, seed)
        self.side = side
        x, y = np.divmod(np.arange(side * side, dtype=np.float64), side)
        self.cells = np.stack([x, y], axis=1)[(x > 1) | (y > 1)]

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n cells, `[n, 2]`, each with the same probability."""
        return self.cells[rng.integers(len(self.cells), size=n)]

    def contains(self, x: object) -> bool:
        """Return whether x is such a cell."""
        return super().contains(x) and bool(np.all(np.asarray(x) == self.cells, axis=1).any())

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draw a cell."""
        return self.draw(1, self.np_random)[0]

    def __repr__(self) -> str:
        """Show the set, which Box's bounds would hide."""
        return f"Cells({self.side} × {self.side} without the corner's 2 × 2)"


class Circle(spaces.Box):
    """The points of the plane at the given distance from the origin, or also those within it.

    Args:
        radius: Radius of the circle.
        half: Only the half with y >= 0.
        filled: The points within the circle as well.
        seed: See Gymnasium.
    """

    def __init__(self, radius: float = 1.0, half: bool = False, filled: bool = False, seed: Seed = None) -> None:
        low = np.array([-radius, 0.0 if half else -radius])
        super().__init__(low, np.full(2, radius), (2,), np.float64, seed)
        self.radius, self.half, self.filled = radius, half, filled

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points, `[n, 2]`, uniformly."""
        angle = rng.uniform(0.0, np.pi if self.half else 2.0 * np.pi, size=n)
        # the square root makes the points uniform on the area
        radius = self.radius * np.sqrt(rng.uniform(size=n)) if self.filled else self.radius
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return np.clip(points, self.low, self.high)

    def contains(self, x: object) -> bool:
        """Return whether x lies on the circle, or within it if it is filled."""
        if not super().contains(x):
            return False
        distance = float(np.linalg.norm(np.asarray(x)))
        within = distance <= self.radius * (1 + ROUNDING)
        return within and (self.filled or distance >= self.radius * (1 - ROUNDING))

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draw a point uniformly."""
        return self.draw(1, self.np_random)[0]

    def __repr__(self) -> str:
        """Show the set, which Box's bounds would hide."""
        name = ("half " if self.half else "") + ("disk" if self.filled else "circle")
        return f"Circle({name} of radius {self.radius:g})"


class Joined(spaces.Box):
    """Two spaces of vectors side by side: the first numbers lie in one, the rest in the other."""

    def __init__(self, first: spaces.Box, second: spaces.Box, seed: Seed = None) -> None:
        low = np.concatenate([first.low, second.low]).astype(np.float64)
        high = np.concatenate([first.high, second.high]).astype(np.float64)
        self.parts = (first, second)
        self.split = first.shape[0]
        super().__init__(low, high, low.shape, np.float64, seed)

    def seed(self, seed: int | None = None) -> int:
        """Seed the generator, and by it those of both parts."""
        used = super().seed(seed)
        for part in self.parts:
            part.seed(int(self.np_random.integers(2**31)))
        return used

    def contains(self, x: object) -> bool:
        """Return whether both parts of x lie in their spaces."""
        if not isinstance(x, np.ndarray) or x.shape != self.shape:
            return False
        first, second = self.parts
        return first.contains(x[: self.split]) and second.contains(x[self.split :])

    def sample(self, mask: None = None, probability: None = None) -> Array:
        """Draw both parts."""
        return np.concatenate([part.sample() for part in self.parts], dtype=np.float64)

    def __repr__(self) -> str:
        """Show both parts."""
        if not self.split:
            return repr(self.parts[1])
        return f"Joined({self.parts[0]}, {self.parts[1]})"
