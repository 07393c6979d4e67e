"""Conjugate gradients and the guards of a trust-region step."""

import pytest
import torch
from torch.testing import assert_close

from metarl import TRPO, UserError
from metarl.outer.trpo import conjugate_gradient


def test_conjugate_gradients_solve_what_a_dense_solver_solves():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(8, 8, generator=g, dtype=torch.float64)
    a, b = root @ root.T + 0.1 * torch.eye(8), torch.randn(8, generator=g, dtype=torch.float64)
    x = conjugate_gradient(lambda v: a @ v, b, iterations=50, tolerance=1e-24)
    assert_close(x, torch.linalg.solve(a, b), rtol=1e-8, atol=1e-8)


def test_conjugate_gradients_stop_at_negative_curvature():
    b = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert torch.equal(conjugate_gradient(lambda v: -v, b), torch.zeros(2).double())


class Quadratic:
    """Loss (p - c)²/2 with Fisher matrix I and KL |p|²/2."""

    def __init__(self, centre):
        self.centre = centre

    def loss_and_gradient(self, params):
        return float((params - self.centre).square().sum() / 2), params - self.centre

    def fisher_product(self, at, vector, stride):
        return vector

    def loss_and_kl(self, params):
        return self.loss_and_gradient(params)[0], float(params.square().sum() / 2)


def test_a_step_goes_to_the_edge_of_the_trust_region():
    problem = Quadratic(torch.tensor([3.0, 4.0], dtype=torch.float64))
    new, metrics = TRPO(max_kl=0.02, cg_damping=0.0).step(problem, torch.zeros(2, dtype=torch.float64))
    assert_close(new, 0.2 * torch.tensor([0.6, 0.8], dtype=torch.float64))
    assert metrics["approx_kl"] == pytest.approx(0.02)
    assert metrics["line_search_steps"] in (1, 2)  # 2 if rounding puts the first candidate outside


def test_a_zero_gradient_is_no_step():
    here = torch.ones(2)
    new, metrics = TRPO().step(Quadratic(torch.ones(2)), here)
    assert torch.equal(new, here)
    assert metrics["line_search_steps"] == 0


@pytest.mark.parametrize(
    "bad", [{"max_kl": -1}, {"max_kl": float("nan")}, {"backtrack": 1.0}, {"cg_iterations": 0}, {"cg_damping": -1e-3}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        TRPO(**bad)
