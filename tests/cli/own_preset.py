"""A preset of one's own, small enough to train in a second."""

TOML = """
preset = "point-navigation"
method = "promp"
tasks = 2
episodes = 2
horizon = 5
eval_tasks = 2
eval_episodes = 2
iterations = 2
eval_every = 1
film = false
hidden = [8, 8]
inner_lr = 0.2
clip = 0.25
[env_options]
goal_range = 0.3
"""
