"""Supervised tasks: what draws their shots, the networks, and the losses the methods ask for; no RL."""
