"""Meta-World's ML1 and ML10 on batched physics, and a thin adaptor of the package's own environments.

Models and meshes come from the installed package `metaworld` (`package.INSTALL` says how to get it); starts,
observations, rewards and successes are our own, on arrays `[N, ...]`, and tests compare them with the package's.
"""

from metarl_envs.families.metaworld.envs import MetaWorldTaskEnv, MetaWorldTaskVectorEnv
from metarl_envs.families.metaworld.family import MetaWorldML1, MetaWorldML10
from metarl_envs.family import env_class

# pickling looks for these classes in the family's module
for _family in (MetaWorldML1, MetaWorldML10):
    _family.__module__ = __name__

MetaWorldML1Env = env_class(MetaWorldTaskEnv, MetaWorldML1, "Env")
MetaWorldML1VectorEnv = env_class(MetaWorldTaskVectorEnv, MetaWorldML1, "VectorEnv")
MetaWorldML10Env = env_class(MetaWorldTaskEnv, MetaWorldML10, "Env")
MetaWorldML10VectorEnv = env_class(MetaWorldTaskVectorEnv, MetaWorldML10, "VectorEnv")
