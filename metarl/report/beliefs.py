"""What a VariBAD agent believes about its task, along a lifetime: where in the plane it expects reward."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from metarl.core import params as P
from metarl.core.params import Params
from metarl.errors import UserError
from metarl.models.rl import Model
from metarl.report.plot import check_plane
from metarl.rl.belief import BeliefPolicy
from metarl.rl.lifetimes import Lifetimes
from metarl.rl.recurrent import encoded
from metarl.seeding import TEST, draw_tasks, task_rngs

SAMPLES = 64
"""Latent tasks drawn from a belief."""
ALONG = 33
"""Places along a side of the plane; a grid has its cells."""


def plot_beliefs(model: Model, steps: int = 2, tasks: int = 3, seed: int = 0) -> Figure:
    """Draw what the agent expects to earn by staying at each place, and its path (Zintgraf et al. 2020, figure 3).

    A row is a task. The first columns are moments of the first episode, from its beginning on; the others are the
    beginnings of the next episodes. Beliefs are drawn before the action of their moment is chosen.

    Args:
        model: The model, which stays as it is.
        steps: Episodes after the first.
        tasks: Held-out tasks.
        seed: Chooses the tasks and episodes.

    Raises:
        UserError: If the model has no belief, or does not walk in the plane to a goal that is its task.
    """
    check_plane(model)
    policy = model.trainer.network
    if not isinstance(policy, BeliefPolicy):
        raise UserError("beliefs are drawn of VariBAD's policies only")
    params = model.trainer.params
    with closing(model.trainer.build_inner_loop(held_out=True, tasks=tasks, episodes=1)) as inner_loop:
        goals, rngs = draw_tasks(inner_loop, tasks, seed, TEST), task_rngs(seed, TEST, 0, range(tasks))
        played = [episodes for _, episodes in islice(inner_loop.play(params, goals, rngs), steps + 1)]
        lifetimes: Any = inner_loop.arrange(played, params, rngs)[1]
    lengths = np.array([episodes.lengths[:, 0].int().numpy() for episodes in played])  # [steps + 1, K]
    starts = np.cumsum([np.zeros_like(lengths[0]), *lengths[:-1]], axis=0)
    quarters = np.array([lengths[0] * quarter // 4 for quarter in range(4)])
    moments = np.concatenate([quarters, starts[1:]]).T  # [K, columns]; a lifetime has its episodes without padding
    paths = lifetimes.obs[:, 0, :, : policy.obs_size].numpy()  # [K, L, 2]
    x, y, places = _places(policy, inner_loop.sampler.env.single_observation_space, paths, goals)
    earned = _expected(policy, params, lifetimes, moments, places).unflatten(-1, (len(y), len(x))).numpy()
    columns = moments.shape[1]
    figure = Figure(figsize=(1.9 * columns, 2.1 * tasks), layout="constrained")
    axes = figure.subplots(tasks, columns, sharex=True, sharey=True, squeeze=False)
    shown: Any = None
    for task, row in enumerate(axes):
        for column, (axis, moment) in enumerate(zip(row, moments[task], strict=True)):
            episode = max(0, column - 3)
            begun = starts[episode, task]
            shown = axis.pcolormesh(x, y, earned[task, column], vmin=earned.min(), vmax=earned.max(), shading="nearest")
            axis.plot(*paths[task, begun : moment + 1].T, color="white", lw=1.2)
            axis.plot(*paths[task, moment], marker="o", ms=6, color="white", mec="black")
            axis.plot(*goals[task], marker="*", ms=11, color="#ff725c", mec="white")
            axis.set_aspect("equal")
            if not task or (not episode and moment != moments[0, column]):  # the quarters of a shorter first episode
                axis.set_title(f"episode {episode + 1}, step {moment - begun}", fontsize=9)
        row[0].set_ylabel(f"task {task + 1}\ny")
    for axis in axes[-1]:
        axis.set_xlabel("x")
    figure.colorbar(shown, ax=axes, label="reward expected for staying", shrink=0.7)
    return figure


def _places(
    policy: BeliefPolicy, plane: Any, paths: NDArray[Any], goals: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], Tensor]:
    """Return the coordinates along both axes, and all places with the action to stay there, `[S, o + a]`.

    Places are the cells of a grid, or else a lattice around all that is to be seen.
    """
    actor = policy.actor
    if isinstance(actor.actions.space, spaces.Discrete):
        x, y = (np.arange(low, high + 1) for low, high in zip(plane.low, plane.high, strict=True))
        stay = torch.zeros(1, dtype=torch.int64)
    else:
        seen = np.concatenate([paths.reshape(-1, 2), goals])
        x, y = np.linspace(seen.min(0), seen.max(0), ALONG).T
        stay = torch.zeros(1, actor.actions.size)
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).float()
    return x, y, torch.cat([grid, encoded(actor, stay, grid.dtype).expand(len(grid), -1)], dim=1)


@torch.no_grad()
def _expected(
    policy: BeliefPolicy, params: Params, lifetimes: Lifetimes, moments: NDArray[Any], places: Tensor
) -> Tensor:
    """Return the reward that the beliefs at some moments `[K, m]` expect at each place, `[K, m, S]`."""
    stacked = P.stack(params, len(lifetimes))
    middle, spread = params["reward_unit"]
    noise = torch.randn(SAMPLES, policy.latent, generator=torch.Generator().manual_seed(0))
    decoder = P.of_part("decoder.", stacked)
    found = []
    for moment in moments.T:
        mean, log_var = lifetimes.context[range(len(moment)), 0, moment][:, None, None].chunk(2, dim=-1)
        inputs = mean + torch.exp(0.5 * log_var) * noise, places.expand(len(mean), 1, -1, -1)
        found.append(middle + spread * functional_call(policy.decoder, decoder, inputs).mean(2)[:, 0])
    return torch.stack(found, dim=1)
