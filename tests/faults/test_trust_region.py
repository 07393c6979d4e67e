"""A trust-region step that cannot be made leaves the params to the bit, and a metric says so."""

import pytest
import torch

from metarl import TRPO
from metarl.experiment.config import Config
from metarl.experiment.trainer import Trainer
from metarl.methods import MAML

HERE = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)


class Problem:
    """A linear loss whose Fisher matrix is a multiple of the identity."""

    def __init__(self, gradient=(1.0, 1.0, 1.0), fisher=1.0, loss=None, kl=0.0):
        self.gradient, self.fisher, self.loss, self.kl = torch.tensor(gradient).double(), fisher, loss, kl

    def loss_and_gradient(self, params):
        return 0.0, self.gradient

    def fisher_product(self, at, vector, stride):
        return self.fisher * vector

    def loss_and_kl(self, params):
        return (float(self.gradient @ (params - HERE)) if self.loss is None else self.loss), self.kl


CASES = {
    "zero gradient": (Problem(gradient=(0.0, 0.0, 0.0)), {"gradient_norm": 0, "line_search_failed": 0}),
    "negative curvature": (Problem(fisher=-1.0), {"line_search_failed": 1, "line_search_steps": 0}),
    "negative curvature by rounding": (Problem(fisher=-1e-5 - 1e-18), {"line_search_failed": 1}),
    "a Fisher product that is not a number": (Problem(fisher=float("nan")), {"line_search_failed": 1}),
    "a Fisher product that is infinite": (Problem(fisher=float("inf")), {"line_search_failed": 1}),
    "no better candidate": (Problem(loss=1.0), {"line_search_failed": 1, "line_search_steps": 15}),
    "a loss that is not a number": (Problem(loss=float("nan")), {"line_search_failed": 1, "line_search_steps": 15}),
    "every candidate out of the region": (Problem(kl=1.0), {"line_search_failed": 1, "line_search_steps": 15}),
}


@pytest.mark.parametrize("case", CASES)
def test_params_stay(case, observe):
    problem, expected = CASES[case]
    before = HERE.clone()
    new, metrics = TRPO().step(problem, HERE)
    assert torch.equal(new, before) and torch.equal(HERE, before)
    assert {name: metrics[name] for name in expected} == expected
    assert metrics["approx_kl"] == metrics["surrogate_improvement"] == 0
    observe(f"trust region: {case}", f"params unchanged; {', '.join(f'{n} {v:g}' for n, v in metrics.items())}")


def test_a_run_whose_rewards_are_all_the_same_goes_on():
    """Without any difference in reward the advantages, and so the gradient, are zero."""
    config = Config(
        "metarl/Bandit-v0", method=MAML(), tasks=2, episodes=1, hidden=(4,), env_options={"arms": 2}, horizon=1
    )
    trainer = Trainer(config)
    before = {name: value.clone() for name, value in trainer.params.items()}
    metrics = trainer.iterate()
    assert metrics["train/gradient_norm"] == 0  # one action an episode: its advantage is zero
    assert all(torch.equal(trainer.params[name], before[name]) for name in before)
