"""stable-baselines3, in and out: its algorithms on our tasks, our policies as its models."""
