"""Sums that do not depend on order or grouping, and are those of exact arithmetic."""

import math

import torch
from hypothesis import given, settings
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
def test_the_sum_is_the_rounded_true_one(numbers):
    found = exact.value(exact.total(torch.tensor(numbers)[:, None]))
    true = math.fsum(torch.tensor(numbers).double().tolist())
    # what is smaller than the finest grid is lost
    assert abs(float(found) - true) <= len(numbers) * 2.0**-73 + abs(true) * 2.0**-52


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
