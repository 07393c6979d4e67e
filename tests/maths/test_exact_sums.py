"""Sums that do not depend on order or grouping, and whose pieces are those of exact arithmetic."""

import math
from fractions import Fraction

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metarl.core import exact

NUMBERS = st.floats(-(2.0**46), 2.0**46, width=32)
SMALL = st.floats(-200, 200, width=32)
"""Some of them too small for the coarsest grid, and some not."""


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=12), st.randoms(), st.data())
def test_neither_order_nor_grouping_shows(rows, random, data):
    vectors = torch.tensor(rows)
    whole = exact.total(vectors)
    order = list(range(len(rows)))
    random.shuffle(order)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    groups = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    sums = [exact.total(vectors[group]) if group else exact.zeros(vectors[0]) for group in groups]
    random.shuffle(sums)
    assert torch.equal(exact.merged(sums), whole)


@settings(max_examples=200, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=20) | st.lists(SMALL, min_size=1, max_size=20))
@example([98.0, 1.8023802894617802e-08, -129.0])  # a piece of -256 and one of 225
def test_the_pieces_add_up_to_the_true_sum_and_the_value_is_rounded_twice(numbers):
    vectors = torch.tensor(numbers)[:, None]
    pieces = exact.total(vectors)
    true = sum(map(Fraction, vectors.flatten().tolist()))
    kept = sum(map(Fraction, pieces.flatten().tolist()))
    assert abs(kept - true) <= len(numbers) * Fraction(2) ** -73  # what is smaller than the finest grid is lost
    found = exact.value(pieces)
    additions = abs(float(pieces[1] + pieces[2])) + abs(float(found))
    assert abs(Fraction(float(found)) - kept) <= Fraction(2) ** -53 * Fraction(additions)


def test_as_many_vectors_as_allowed_still_add_exactly():
    largest = torch.full((exact.MOST, 1), exact.LARGEST * (1 - 2.0**-52), dtype=torch.float64)
    one_by_one = exact.merged(exact.total(part) for part in largest.split(1000))
    assert torch.equal(one_by_one, exact.total(largest))
    assert exact.value(one_by_one) == math.fsum(largest.flatten().tolist())


def test_what_is_not_finite_or_too_large_is_nan():
    for bad in (math.nan, math.inf, -math.inf, 2.0**47):
        sums = exact.value(exact.total(torch.tensor([[1.0, bad], [2.0, 3.0]])))
        assert sums[0] == 3 and torch.isnan(sums[1])


def test_plain_sums_do_depend_on_the_order():
    """Else there would be nothing to test here."""
    numbers = torch.tensor([1e8, 1.0, -1e8])
    assert (numbers[0] + numbers[1]) + numbers[2] != (numbers[0] + numbers[2]) + numbers[1]
    assert exact.value(exact.total(numbers[:, None])) == 1
