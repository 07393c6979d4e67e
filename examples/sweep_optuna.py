"""Search the inner step size and the trust region with Optuna; hopeless trials end early."""

import sys

import optuna

import metarl

QUICK = "--quick" in sys.argv


class Report(metarl.Callback):
    """Tells Optuna the held-out return after one gradient step at each evaluation."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.value, self.evaluations = trial, float("-inf"), 0

    def on_evaluation(self, curve):
        self.value = float(curve.mean[1])
        self.trial.report(self.value, self.evaluations)
        self.evaluations += 1

    def on_iteration(self, trainer, metrics):
        return not self.trial.should_prune()  # False ends the run


def objective(trial: optuna.Trial) -> float:
    """Train with the trial's settings; returns the last held-out return after one gradient step."""
    report = Report(trial)
    model = metarl.MAML(
        "metarl/PointNavigation-v0",
        inner_lr=trial.suggest_float("inner_lr", 0.05, 2.0, log=True),
        max_kl=trial.suggest_float("max_kl", 0.003, 0.1, log=True),
        action_scale=0.1,
        tasks=2 if QUICK else 20,
        episodes=2 if QUICK else 10,
        eval_every=1 if QUICK else 10,
        eval_tasks=2 if QUICK else 40,
        eval_steps=1,
    )
    model.learn(iterations=2 if QUICK else 50, callbacks=[report])
    model.close()
    if trial.should_prune():
        raise optuna.TrialPruned
    return report.value


study = optuna.create_study(
    direction="maximize", sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner()
)
study.optimize(objective, n_trials=2 if QUICK else 30)
print(f"best: {study.best_params}, return after one gradient step {study.best_value:.1f}")
