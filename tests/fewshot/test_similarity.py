"""Similarities of representations: what they must not see, and direct formulas."""

import pytest
import torch
from torch.testing import assert_close

from metarl import UserError
from metarl.core.similarity import canonical_correlations, linear_cka, svcca

g = torch.Generator().manual_seed(0)
X, Y = (torch.randn(40, width, generator=g, dtype=torch.float64) for width in (5, 7))
Y = Y + X @ torch.randn(5, 7, generator=g, dtype=torch.float64)


def rotation(size):
    return torch.linalg.qr(torch.randn(size, size, generator=g, dtype=torch.float64))[0]


def test_the_same_representation_is_entirely_alike():
    assert linear_cka(X, X) == pytest.approx(1)
    assert svcca(X, X) == pytest.approx(1)
    assert_close(canonical_correlations(X, X), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("measure", [linear_cka, svcca], ids=["cka", "svcca"])
def test_rotations_scalings_and_shifts_change_nothing(measure):
    expected = measure(X, Y)
    assert 0.1 < expected < 0.99
    assert measure(X @ rotation(5), Y @ rotation(7)) == pytest.approx(expected)
    assert measure(3 * X, -0.2 * Y) == pytest.approx(expected)
    assert measure(X + 5, Y - 2) == pytest.approx(expected)
    assert measure(Y, X) == pytest.approx(expected)


def test_cka_is_the_alignment_of_the_centred_kernels():
    n = len(X)
    centre = torch.eye(n, dtype=torch.float64) - 1 / n
    k, m = (centre @ features @ features.T @ centre for features in (X, Y))
    expected = (k * m).sum() / (k.norm() * m.norm())
    assert linear_cka(X, Y) == pytest.approx(float(expected))


def test_cka_of_more_features_than_examples():
    wide, other = (torch.randn(6, 50, generator=g, dtype=torch.float64) for _ in range(2))
    by_features = ((other - other.mean(0)).T @ (wide - wide.mean(0))).norm() ** 2
    sizes = [((f - f.mean(0)).T @ (f - f.mean(0))).norm() for f in (wide, other)]
    assert linear_cka(wide, other) == pytest.approx(float(by_features / (sizes[0] * sizes[1])))


def test_canonical_correlations_solve_the_eigenproblem():
    x, y = X - X.mean(0), Y - Y.mean(0)
    xx, yy, xy = x.T @ x, y.T @ y, x.T @ y
    squares = torch.linalg.eigvals(torch.linalg.solve(xx, xy) @ torch.linalg.solve(yy, xy.T)).real
    assert_close(canonical_correlations(X, Y), squares.sort(descending=True).values.sqrt())


def test_canonical_correlations_do_not_change_under_linear_maps():
    mixed = X @ torch.randn(5, 5, generator=g, dtype=torch.float64)
    assert_close(canonical_correlations(mixed, Y), canonical_correlations(X, Y))
    assert linear_cka(mixed, Y) != pytest.approx(linear_cka(X, Y), rel=1e-3)


def test_svcca_looks_at_the_main_directions_only():
    noise = 1e-4 * torch.randn(40, 3, generator=g, dtype=torch.float64)
    other = 1e-4 * torch.randn(40, 3, generator=g, dtype=torch.float64)
    assert svcca(torch.cat([X, noise], 1), torch.cat([X, other], 1)) == pytest.approx(1, abs=1e-3)


def test_features_that_never_vary():
    constant = torch.ones(10, 3, dtype=torch.float64)
    for measure in (linear_cka, svcca):
        assert measure(constant, constant) == 1
        assert measure(constant, X[:10]) == 0


def test_other_examples_are_refused():
    with pytest.raises(UserError, match="same examples twice, at least 2; got 40 and 39"):
        linear_cka(X, Y[:39])
