"""A method of one's own beside MAML: no inner step is longer than a bound, whatever the gradient."""

import sys
from dataclasses import dataclass

import metarl
from metarl.core.gradient_step import gradient_step
from metarl.methods import MAML

QUICK = "--quick" in sys.argv


@dataclass(frozen=True)
class ClippedMAML(MAML):
    """MAML whose inner step is no longer than `longest` in each task."""

    longest: float = 0.5
    """Greatest Euclidean norm of an inner step."""

    def inner_step(self, loss, adapted, support, scale=1.0, *, create_graph=False):
        rate = scale * self.inner_lr
        stepped = gradient_step(loss, adapted, support, rate, first_order=self.first_order, create_graph=create_graph)
        steps = {name: stepped[name] - adapted[name] for name in stepped}  # [K, ...] each
        squares = sum(step.flatten(1).square().sum(1) for step in steps.values())
        factor = (self.longest / (squares + 1e-12).sqrt()).clamp(max=1.0)  # [K]
        return {name: adapted[name] + factor.view(-1, *[1] * (step.dim() - 1)) * step for name, step in steps.items()}


if __name__ == "__main__":
    size = {"tasks": 2, "episodes": 2} if QUICK else {"tasks": 20, "episodes": 10}
    for method in (MAML(inner_lr=0.5), ClippedMAML(inner_lr=0.5, longest=0.5)):
        model = metarl.Model("metarl/PointNavigation-v0", method=method, action_scale=0.1, seed=0, **size)
        model.learn(iterations=2 if QUICK else 60)
        curve = metarl.adaptation_curve(model, steps=2, tasks=4 if QUICK else 40, seed=1)
        print(f"{type(method).__name__}: return after 0, 1 and 2 steps: {curve.mean.round(1)}")
