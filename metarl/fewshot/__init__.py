"""Supervised tasks: what draws their shots, the networks, and the losses the learners ask for; no RL."""
