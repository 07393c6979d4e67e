"""The checker passes what is a task distribution, and names what is wrong with the rest."""

import gymnasium
import numpy as np
import pytest
from env_ids import IDS
from gymnasium import spaces

import metarl
from metarl.cli.main import main
from metarl.experiment.film import film_adaptation


class Corridor(gymnasium.Env):
    """Walk left or right; the task says which direction pays."""

    observation_space = spaces.Box(-99.0, 99.0, (1,), np.float32)
    action_space = spaces.Discrete(2)
    task_space = spaces.Box(-1.0, 1.0, (1,), np.float64)

    def sample_tasks(self, n, rng):
        return rng.uniform(-1.0, 1.0, (n, 1))

    def set_task(self, task):
        self.direction = float(task[0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform()
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x += 2 * int(action) - 1
        return np.array([self.x], np.float32), self.direction * self.x, False, False, {}


class GlobalTasks(Corridor):
    def sample_tasks(self, n, rng):
        return np.random.uniform(-1.0, 1.0, (n, 1))  # noqa: NPY002


class GlobalStart(Corridor):
    def reset(self, *, seed=None, options=None):
        _, info = super().reset(seed=seed)
        self.x += np.random.uniform()  # noqa: NPY002
        return np.array([self.x], np.float32), info


class Outside(Corridor):
    def sample_tasks(self, n, rng):
        return rng.uniform(2.0, 3.0, (n, 1))


class Flat(Corridor):
    def sample_tasks(self, n, rng):
        return rng.uniform(-1.0, 1.0, n)


class Endless(Corridor):
    def step(self, action):
        observation, *rest = super().step(action)
        return observation.astype(np.float64), *rest


class NotANumber(Corridor):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float("nan"), *rest


class OutsideOnce(Corridor):
    """Shows the same array in every step, which is outside for a moment."""

    def reset(self, *, seed=None, options=None):
        self.shown, self.steps = np.zeros(1, np.float32), 0
        super().reset(seed=seed)
        return self.shown, {}

    def step(self, action):
        _, *rest = super().step(action)
        self.steps += 1
        self.shown[0] = 1000.0 if self.steps == 2 else 0.0
        return self.shown, *rest


class GlobalTest(Corridor):
    """Draws the tasks of one set in another way."""

    def sample_tasks(self, n, rng, split="train"):
        return super().sample_tasks(n, np.random.default_rng() if split == "test" else rng)


class Texts(Corridor):
    def sample_tasks(self, n, rng):
        return ["left"] * n


class Deaf(Corridor):
    direction = 1.0

    def set_task(self, task):
        pass


class Redraws(Corridor):
    """Its start forgets the task."""

    def reset(self, *, seed=None, options=None):
        answer = super().reset(seed=seed)
        self.direction = float(self.np_random.uniform(-1.0, 1.0))
        return answer


class Remembers(Corridor):
    """What one task has changed stays in the next."""

    walked = 0.0

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self.walked += 1.0
        return observation, reward + self.walked, *rest


class Words(Corridor):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, "good", *rest


class FourThings(Corridor):
    def step(self, action):
        return super().step(action)[:4]


class NoInfo(Corridor):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class TwoActions(Corridor):
    action_space = spaces.MultiDiscrete([2, 2])


class NotFinite(Corridor):
    def sample_tasks(self, n, rng):
        return np.full((n, 1), np.nan)


class Picture(Corridor):
    """Shows another dtype than it says, in more numbers than a line holds."""

    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full((8, 8, 3), 1, np.uint16), {}

    def step(self, action):
        return np.full((8, 8, 3), 1, np.uint16), *super().step(action)[1:]


@pytest.mark.filterwarnings("ignore:8 tasks play the same:UserWarning")  # where rewards are sparse
@pytest.mark.parametrize("env", [*IDS, Corridor, Corridor()])
def test_ours_and_a_users_are_task_distributions(env):
    metarl.check_env(env, steps=5 if isinstance(env, str) else 50)


@pytest.mark.filterwarnings("ignore:.*precision lowered:UserWarning", "ignore:.*obs:UserWarning")
@pytest.mark.parametrize(
    ("env", "message"),
    [
        (GlobalTasks, r"sample_tasks\(n, rng\) must draw with rng alone"),
        (GlobalStart, "does not play the same again with the same seed and actions"),
        (Remembers, "set_task must set everything that another task may have changed"),
        (Outside, r"sample_tasks drew \[2\..*\], which is not in task_space Box"),
        (Flat, r"must return n tasks, an array \[n, d\]; of 8 it returned \(8,\)"),
        (Endless, r"shows float64 \(1,\) .* which is not in Box"),
        (NotANumber, "a reward that is not finite"),
        (OutsideOnce, r"shows float32 \(1,\) \[1000\.\], which is not in Box"),
        (GlobalTest, r"sample_tasks\(n, rng\) must draw with rng alone"),
        (Words, "reward must be numbers of shape .*, got 'good'"),
        (FourThings, "step must return observation, reward, terminated, truncated, info"),
        (NoInfo, "reset must return observation, info"),
        (TwoActions, r"actions must be a Box of floats or Discrete, got MultiDiscrete\(\[2 2\]\)"),
        (NotFinite, r"must return finite numbers, got \[nan\]"),
        (Picture, r"shows uint16 \(8, 8, 3\) \[.{1,60}\.\.\., which is not in Box"),
        (Texts, r"must return numbers, an array \[n, d\]; it returned \['left'"),
    ],
)
def test_what_is_wrong_is_named(env, message):
    with pytest.raises(metarl.UserError, match=message):
        metarl.check_env(env)


@pytest.mark.parametrize("env", [Deaf, Redraws])
def test_tasks_that_play_the_same_are_told_of(env):
    with pytest.warns(UserWarning, match="8 tasks play the same, with random actions for 50 steps"):
        metarl.check_env(env)


class Drawn(Corridor):
    """A class with an option, which draws itself."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, render_mode=None, gain=1.0):
        self.render_mode, self.gain = render_mode, gain

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, self.gain * reward, *rest

    def render(self):
        return np.zeros((32, 32, 3), np.uint8)


def test_a_class_has_its_options_and_is_filmed():
    metarl.check_env(Drawn, gain=2.0)
    model = metarl.MAML(Drawn, env_options={"gain": 0.0}, horizon=4, tasks=2, episodes=2)
    assert not metarl.adaptation_curve(model, tasks=2, episodes=2).mean.any()
    frames, fps = film_adaptation(model.trainer)
    assert fps == 20 and len(frames) == 5
    model.close()


def test_the_command(tmp_path, capsys):
    (tmp_path / "half.py").write_text("from test_check_env import Corridor\n\n\nclass Half(Corridor):\n    pass\n")
    assert main(["envs", "half:Half", "--check"]) == 0
    assert main(["envs", "PointNavigation", "--check"]) == 0
    assert "half:Half is a task distribution" in capsys.readouterr().out
    assert main(["envs", "--check"]) == 2
    assert main(["envs", "half:Nothing", "--check"]) == 2
    assert "'half' has no 'Nothing'" in capsys.readouterr().err
