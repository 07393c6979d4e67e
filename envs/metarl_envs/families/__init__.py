"""The task distributions, a file for each body."""
