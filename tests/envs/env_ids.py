"""The ids of all families, for the tests that loop over them."""

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv
from metarl_envs import HORIZONS

IDS = [f"metarl/{key.split(':')[1]}-v0" for key in HORIZONS]
MUJOCO_IDS = [
    f"metarl/{key.split(':')[1]}-v0" for key in HORIZONS if key.split(":")[0] not in ("navigation", "grid", "tabular")
]


def vector_and_singles(env_id: str, n: int, seed: int, **options) -> tuple[VectorEnv, list[gymnasium.Env]]:
    """Return a vector environment and n single ones with the same random tasks."""
    env = gymnasium.make_vec(env_id, num_envs=n, **options)
    tasks = env.sample_tasks(n, np.random.default_rng(seed))
    env.set_tasks(tasks)
    options.pop("autoreset_mode", None)
    singles = [gymnasium.make(env_id, **options) for _ in range(n)]
    for single, task in zip(singles, tasks, strict=True):
        single.unwrapped.set_task(task)
    return env, singles
