"""Adaptation curves: return (or loss, or accuracy) after 0, 1, 2, ... gradient steps on tasks held out of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.core.params import Params
from metarl.core.statistics import mean_and_interval
from metarl.errors import Fault, NotFinite, stop_at
from metarl.methods.protocols import InnerLoop
from metarl.seeding import TEST, draw_tasks, task_rngs

LARGEST_TASK = 100
"""Numbers of a task, at most, with which it is written down beside what was reached in it."""


@dataclass(frozen=True, repr=False)
class AdaptationCurve:
    """Returns, losses or accuracies on held-out tasks after each number of gradient steps."""

    env: str
    """Id of the environment, or name of the data."""
    per_task: NDArray[np.float64]
    """Each task's mean undiscounted return (or loss, ...) after each number of steps, `[tasks, steps + 1]`."""
    env_steps: int
    """Environment steps the evaluation took, or examples it drew."""
    change: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """What one gradient step adds to each param in each task, `[tasks, ...]`."""
    unit: str = "gradient steps"
    """What the steps are: gradient steps, or episodes seen."""
    measure: str = "return"
    """What was measured: the return, the loss or the accuracy."""
    dropped: int = 0
    """Tasks left out because something in them was not finite."""
    success: NDArray[np.float64] | None = None
    """Each task's share of episodes that solved it, `[tasks, steps + 1]`; None where the environment does not say."""
    episodes_per_step: int | None = None
    """Episodes of its task that a policy sees in each step; None where there are none, or nobody noted it."""
    tasks: NDArray[Any] | None = None
    """The tasks, in the order of `per_task`, `[tasks, d]`; None where nobody noted them."""

    @property
    def steps(self) -> list[int]:
        """0, 1, 2, ..."""
        return list(range(self.per_task.shape[1]))

    @property
    def episodes(self) -> list[int] | None:
        """How many episodes of its task a policy has seen after each number of steps."""
        return None if self.episodes_per_step is None else [step * self.episodes_per_step for step in self.steps]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over tasks, `[steps + 1]`."""
        return self.per_task.mean(0)

    @property
    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends of the 95 % interval of the mean over tasks (Student's t), `[steps + 1]` each; of one task, the mean."""
        with np.errstate(all="ignore"):  # more steps than were trained may diverge
            _, low, high = mean_and_interval(self.per_task)
        return (np.maximum(low, 0.0), np.minimum(high, 1.0)) if self.measure in ("success", "accuracy") else (low, high)

    @property
    def of_success(self) -> AdaptationCurve | None:
        """The curve of the success instead of the return, if there is one."""
        if self.success is None:
            return None
        return replace(self, per_task=self.success, measure="success", success=None, change={})

    def score(self, steps: int) -> float:
        """Return the mean after this many steps, or the most there are; the larger the better."""
        value = float(self.mean[min(steps, self.steps[-1])])
        return -value if self.measure == "loss" else value

    def draw(self, axis: Any, colour: str, label: str, by_episodes: bool = False) -> None:
        """Draw the curve and its interval on a matplotlib axis.

        Args:
            axis: The axis.
            colour: Colour of the line.
            label: Its name in a legend.
            by_episodes: Whether the x-axis counts episodes of the task seen, so that a memory and a gradient step,
                which sees several, can be compared; by default it counts steps.

        Raises:
            ValueError: If it shall count episodes and there are none.
        """
        x = self.episodes if by_episodes else self.steps
        if x is None:
            raise ValueError("this curve does not know how many episodes a step sees")
        low, high = self.interval
        axis.plot(x, self.mean, color=colour, marker="o", ms=4, label=label)
        axis.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
        if not by_episodes:
            axis.set_xticks(x)

    @staticmethod
    def joined(parts: Sequence[AdaptationCurve]) -> AdaptationCurve:
        """Return the curve of all tasks from those of shares, in order.

        Raises:
            NotFinite: If no task is left in any of them.
        """
        if not any(len(part.per_task) for part in parts):
            raise NotFinite("something is not finite in every held-out task")
        change = {name: np.concatenate([part.change[name] for part in parts]) for name in parts[0].change}
        per_task = np.concatenate([part.per_task for part in parts])
        env_steps, dropped = sum(part.env_steps for part in parts), sum(part.dropped for part in parts)
        success = filled_success([part.success for part in parts], [part.per_task for part in parts])
        tasks = [part.tasks for part in parts if part.tasks is not None]
        joined = replace(parts[0], per_task=per_task, env_steps=env_steps, change=change, dropped=dropped)
        joined = replace(joined, tasks=np.concatenate(tasks) if len(tasks) == len(parts) else None)
        return replace(joined, success=np.concatenate(success) if success else None)

    def __repr__(self) -> str:
        """Tell the mean after each number of steps, and half of its 95 % interval where there are several tasks."""
        low, high = self.interval
        values = zip(self.steps, self.mean, (high - low) / 2, strict=True)
        alone = len(self.per_task) == 1
        points = ", ".join(f"{step}: {mean:.4g}" + f" ± {half:.2g}" * (not alone) for step, mean, half in values)
        return f"<{self.measure} in {len(self.per_task)} tasks of {self.env} by {self.unit}: {points}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the curve as JSON takes it; the tasks too, unless they are long."""
        low, high = self.interval
        own = {} if self.of_success is None else {"success": replace(self.of_success, tasks=None).as_dict()}
        short = self.tasks is not None and self.tasks[:1].size <= LARGEST_TASK
        tasks = self.tasks.tolist() if self.tasks is not None and short else None
        return (
            {
                "env": self.env,
                "steps": self.steps,
                "unit": self.unit,
                "measure": self.measure,
                "mean": self.mean.tolist(),
                "ci_low": low.tolist(),
                "ci_high": high.tolist(),
                "per_task": self.per_task.tolist(),
                "env_steps": self.env_steps,
            }
            | ({} if tasks is None else {"tasks": tasks})
            | ({"episodes_per_step": self.episodes_per_step} if self.episodes_per_step else {})
            | ({"dropped": self.dropped} if self.dropped else {})
            | own
        )


def filled_success(successes: Sequence[Any], returns: Sequence[Any]) -> list[NDArray[Any]]:
    """Return arrays of success for arrays of returns, or none at all where none was told.

    An environment may tell of success only where there is some, so what is None beside others is zero.
    """
    if all(success is None for success in successes):
        return []
    return [
        np.zeros_like(value) if success is None else np.asarray(success)
        for success, value in zip(successes, returns, strict=True)
    ]


@dataclass(frozen=True)
class Evaluation:
    """How meta-params are evaluated, whoever holds a share of the tasks."""

    env: str
    """Id of the environment, or name of the data, for the record."""
    steps: int
    """Gradient steps to take."""
    seed: int
    """Chooses the tasks and episodes."""
    stream: int = TEST
    """Of random numbers: `TEST`, or `VALIDATION` for what a run chooses its best policy by."""
    drop: bool = False
    """Whether to leave out tasks in which something is not finite."""
    tasks: NDArray[Any] | None = None
    """The tasks, `[n, d]`, instead of those that the seed draws."""


def evaluate(
    inner_loop: InnerLoop,
    params: Params,
    how: Evaluation,
    total: int | None = None,
    share: Sequence[int] | None = None,
) -> AdaptationCurve:
    """Draw the adaptation curve of meta-params, which stay untouched.

    Each task starts from the same params, and its tasks and episodes come from a stream of random
    numbers that training never uses.

    Args:
        inner_loop: Plays and adapts; it knows how many tasks and how much data each.
        params: Meta-params.
        how: Steps, seed, and what else is the same for every share of the tasks.
        total: Number of held-out tasks, where the inner loop plays a share of them only.
        share: Indices of those it plays; by default all.

    Raises:
        NotFinite: If something is not finite and is not dropped, or in all tasks; names task and step.
    """
    total = inner_loop.tasks if total is None else total
    share = range(inner_loop.tasks) if share is None else share
    drawn = draw_tasks(inner_loop, total, how.seed, how.stream) if how.tasks is None else how.tasks
    drawn = drawn[list(share)]
    played = inner_loop.play(params, drawn, task_rngs(how.seed, how.stream, 0, share), stop=False)
    means, success, env_steps, change = [], [], 0, {}
    faults: dict[int, Fault] = {}
    for step, (adapted, episodes) in enumerate(islice(played, how.steps + 1)):
        means.append(episodes.returns.double().mean(1).cpu().numpy())
        solved = getattr(episodes, "success", None)
        success.append(None if solved is None else solved.double().mean(1).numpy())
        env_steps += episodes.steps
        faults = {**episodes.faults, **faults}
        if step == 1 and adapted is not params:  # a recurrent policy adapts without
            change = {name: (adapted[name] - params[name]).detach().numpy() for name in params}
    if not how.drop or len(faults) == total:
        stop_at({share[k]: fault for k, fault in faults.items()}, left=0 if how.drop else None)
    kept = [k for k in range(len(share)) if k not in faults]
    success = filled_success(success, means)
    return AdaptationCurve(
        how.env,
        per_task=np.stack(means, axis=1)[kept],
        env_steps=env_steps,
        change={name: value[kept] for name, value in change.items()},
        unit=inner_loop.adapts_by,
        measure=inner_loop.measure,
        dropped=len(faults),
        success=np.stack(success, axis=1)[kept] if success else None,
        episodes_per_step=inner_loop.episodes_per_step,
        tasks=drawn[kept],
    )
