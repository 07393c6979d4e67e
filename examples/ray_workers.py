"""Share the tasks of each iteration among two Ray actors, and compare the time with that of one process."""

import sys

import metarl

QUICK = "--quick" in sys.argv


def train(workers: int | str) -> metarl.MAML:
    """Train with these workers: `local`, a number of actors on this machine, or `auto` on a cluster."""
    model = metarl.MAML(
        "metarl/HalfCheetahVel-v0",
        inner_lr=0.1,
        action_scale=0.1,
        discount=0.97,
        gae_lambda=0.9,
        tasks=4 if QUICK else 40,
        episodes=2 if QUICK else 20,
        horizon=10 if QUICK else 100,
        eval_tasks=2 if QUICK else 40,
        workers=workers,
        seed=0,
    )
    model.learn(iterations=1 if QUICK else 20)
    return model


if __name__ == "__main__":
    for workers in ("local", 2):
        model = train(workers)
        progress = model.trainer.progress
        print(f"workers {workers}: {progress.env_steps:,} steps in {progress.seconds:.1f} s")
        model.close()
