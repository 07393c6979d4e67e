"""Make the films of the documentation: `python docs/films.py [NAME ...]`, by default all.

A family whose policy comes with the package is shown before and after adaptation, any other one under random actions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from metarl_envs import HORIZONS

import metarl
from metarl.experiment.film import Frames, encode_gif, film_adaptation
from metarl.models.pretrained import cards

FOLDER = Path(__file__).parent / "pictures"
SIDE, PICTURES = 120, 20


TASKS: dict[str, list[float]] = {"half-cheetah-vel": [1.8], "ant-vel": [2.5], "point-navigation": [0.4, -0.3]}
"""Tasks far from what the policies do before they adapt; for other families a held-out one is drawn."""


def adapting(name: str, side: int, pictures: int, seed: int = 3) -> tuple[Frames, int]:
    """Return the film of a pretrained policy before and after adaptation, and its pictures a second."""
    model = metarl.load(f"pretrained:{name}")
    try:
        return film_adaptation(model.trainer, TASKS.get(name), 1, seed, side=side, longest=pictures)
    finally:
        model.close()


def random_actions(env_id: str) -> tuple[Frames, int]:
    """Return the film of an episode's beginning under random actions, and its pictures a second."""
    env: Any = gymnasium.make(env_id, render_mode="rgb_array", render_size=SIDE)
    env.unwrapped.set_task(env.unwrapped.sample_tasks(1, np.random.default_rng(2))[0])
    env.reset(seed=0)
    env.action_space.seed(0)
    frames = [env.render()]
    for step in range(2 * PICTURES):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if step % 2:
            frames.append(env.render())
        if terminated or truncated:
            break
    env.close()
    return np.stack(frames), 10


def main(chosen: list[str]) -> None:
    """Write the films."""
    pretrained = {card["env"]: name for name, card in cards().items()}
    if not chosen or "adaptation" in chosen:
        (FOLDER / "adaptation.gif").write_bytes(encode_gif(*adapting("half-cheetah-dir", 180, 30)))
    for key in HORIZONS:
        name = key.split(":")[1]
        env_id = f"metarl/{name}-v0"
        if chosen and name not in chosen:
            continue
        film = adapting(pretrained[env_id], SIDE, PICTURES) if env_id in pretrained else random_actions(env_id)
        (FOLDER / f"{name}.gif").write_bytes(encode_gif(*film))


if __name__ == "__main__":
    main(sys.argv[1:])
