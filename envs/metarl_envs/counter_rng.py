"""Random numbers of many rows at once: each row has a stream of its own, and no row costs a Python call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_envs.family import Array

Words = NDArray[np.uint64]

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], dtype=np.uint64)
ROUNDS = np.arange(10, dtype=np.uint64)[:, None, None]
WEYL = ROUNDS * np.array([[0x9E3779B9], [0xBB67AE85]], dtype=np.uint64)


class Streams:
    """A stream of random numbers for each of N rows, a pure function of the row's key and of how much it has drawn.

    Philox4x32-10, a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

    Args:
        keys: The rows' keys `[N]`, see `stream_keys`.
        drawn: Blocks that the rows have drawn so far `[N]`; by default none.
    """

    def __init__(self, keys: Words, drawn: Words | None = None) -> None:
        self.keys = keys
        self.drawn = np.zeros(len(keys), np.uint64) if drawn is None else drawn

    def __len__(self) -> int:
        """Return the number of rows N."""
        return len(self.keys)

    def uniform(self, size: int) -> Array:
        """Draw numbers in [0, 1), `[N, size]`."""
        blocks = (size + 1) // 2
        return self._pairs(blocks).reshape(len(self), 2 * blocks)[:, :size]

    def normal(self, size: int) -> Array:
        """Draw standard normal numbers, `[N, size]`, by the method of Box and Muller (1958)."""
        blocks = (size + 1) // 2
        first, second = np.moveaxis(self._pairs(blocks), -1, 0).copy()
        radius, angle = np.sqrt(-2.0 * np.log1p(-first)), 2.0 * np.pi * second
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        return pairs.reshape(len(self), 2 * blocks)[:, :size]

    def _pairs(self, blocks: int) -> Array:
        """Draw two numbers in [0, 1) for each block, `[N, blocks, 2]`."""
        counters = np.zeros((2, len(self), blocks), np.uint64)
        counters[0] = self.drawn[:, None] + np.arange(blocks, dtype=np.uint64)
        self.drawn = self.drawn + np.uint64(blocks)
        words = philox(counters, self.keys[:, None].repeat(blocks, axis=1))
        return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).transpose(1, 2, 0)


def philox(counters: Words, keys: Words) -> Words:
    """Return the 128 random bits of each counter under its key.

    Args:
        counters: The counter's low and high 64 bits, `[2, ...]`.
        keys: Keys of 64 bits, `[...]`.

    Returns:
        Low and high 64 bits, `[2, ...]`.
    """
    shape = counters.shape
    counters = counters.reshape(2, -1)
    even, odd = counters & LOW, counters >> HALF
    for key in np.stack([keys.ravel() & LOW, keys.ravel() >> HALF]) + WEYL & LOW:
        product = MULTIPLIERS * even
        odd ^= key
        even = (product >> HALF)[::-1] ^ odd
        odd = (product & LOW)[::-1]
    return (even | odd << HALF).reshape(shape)


def stream_keys(seeds: Sequence[int | None]) -> Words:
    """Return a key for each seed: the seed itself, or its hash if it has more than 64 bits; 0 for None.

    Raises:
        ValueError: If a seed is negative.
    """
    try:
        return np.array(seeds, dtype=np.uint64)
    except (TypeError, OverflowError):
        return np.array([_key(0 if seed is None else int(seed)) for seed in seeds], dtype=np.uint64)


def _key(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"a seed must not be negative, got {seed}")
    return seed if seed < 2**64 else int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
