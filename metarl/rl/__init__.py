"""Reinforcement learning: environments, policies, the sampler and its episodes, advantages, losses."""
