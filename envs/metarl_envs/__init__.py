"""Parametrised Gymnasium task distributions; importing the package registers their ids.

Only Gymnasium, MuJoCo and NumPy live here: no torch, no `metarl`. A family (`Family`) is written
once on arrays and exists twice, for `gymnasium.make` and for `gymnasium.make_vec`.
"""

from gymnasium.envs.registration import register

from metarl_envs.family import Family
from metarl_envs.keyword_tasks import AttributeTasks, KeywordTasks
from metarl_envs.physics import FieldRange, RandomPhysics
from metarl_envs.single import TaskEnv
from metarl_envs.task_spaces import Signs
from metarl_envs.vector import TaskVectorEnv

__all__ = [
    "HORIZONS",
    "WITH_PACKAGE",
    "AttributeTasks",
    "Family",
    "FieldRange",
    "KeywordTasks",
    "RandomPhysics",
    "Signs",
    "TaskEnv",
    "TaskVectorEnv",
]

HORIZONS = {
    "navigation:PointNavigation": 100,
    "navigation:SparseNavigation": 20,
    "navigation:CornerNavigation": 100,
    "grid:GridNavigation": 15,
    "tabular:Bandit": 1,
    "tabular:TabularMDP": 10,
    "half_cheetah:HalfCheetahVel": 200,
    "half_cheetah:HalfCheetahDir": 200,
    "half_cheetah:HalfCheetahCrippled": 1000,
    "ant:AntVel": 200,
    "ant:AntDir": 200,
    "ant:AntGoal": 200,
    "ant:AntCrippled": 1000,
    "walkers:Walker2dVel": 200,
    "walkers:Walker2dDir": 200,
    "walkers:HopperRandParams": 200,
    "walkers:Walker2dRandParams": 200,
    "swimmer:SwimmerVel": 200,
    "humanoid:HumanoidDir": 200,
}
"""Every family, by module and class, and the steps of its episodes."""

WITH_PACKAGE = {"metaworld:MetaWorldML1": 500, "metaworld:MetaWorldML10": 500}
"""Families whose models are in a package that users install by hand; the id says how."""

for _family, _horizon in (HORIZONS | WITH_PACKAGE).items():
    _name = _family.split(":")[1]
    register(
        id=f"metarl/{_name}-v0",
        entry_point=f"metarl_envs.families.{_family}Env",
        vector_entry_point=f"metarl_envs.families.{_family}VectorEnv",
        max_episode_steps=_horizon,
    )

register(
    id="metarl/MetaWorld-v0",
    entry_point="metarl_envs.families.metaworld.adaptor:MetaWorldEnv",
    max_episode_steps=500,
    # the package's environments do not know Gymnasium's seeds, and their first frame may lie outside their space
    disable_env_checker=True,
)
