"""Train MAML on 2-D navigation, then draw the adaptation curve and what adaptation does to the paths."""

import sys

import matplotlib.pyplot as plt

import metarl
from metarl.report.plot import plot_paths

QUICK = "--quick" in sys.argv

model = metarl.MAML(
    "metarl/PointNavigation-v0",
    inner_lr=0.5,
    outer=metarl.TRPO(max_kl=0.03),
    action_scale=0.1,
    later_lr=0.35,  # steps beyond those trained are smaller
    tasks=2 if QUICK else 20,
    episodes=2 if QUICK else 20,
    seed=0,
    log_dir="runs/train_and_plot",
    verbose=True,
)
model.learn(iterations=2 if QUICK else 150)

curve = metarl.adaptation_curve(model, steps=3, tasks=4 if QUICK else 40, seed=1)
for step, mean, low, high in zip(curve.steps, curve.mean, *curve.interval, strict=True):
    print(f"{step} gradient steps: return {mean:.1f} ({low:.1f} to {high:.1f})")

figure, axis = plt.subplots(figsize=(4, 3), layout="constrained")
curve.draw(axis, "#4269d0", "MAML")
axis.set(xlabel="gradient steps", ylabel="return on held-out tasks")
figure.savefig("adaptation_curve.png", dpi=150)
plot_paths(model, steps=2, seed=1).savefig("paths.png", dpi=150)
model.save("navigation.safetensors")
print("wrote adaptation_curve.png, paths.png and navigation.safetensors")
