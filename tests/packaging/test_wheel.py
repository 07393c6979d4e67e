"""The wheel, installed into an empty environment, trains beside a user's own folders of the names that we use."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

MINE = '''
import gymnasium
from metarl_envs.families.navigation import PointNavigation


class Mine(gymnasium.Wrapper):
    """A task distribution of the user's, in a package called envs."""

    def __init__(self, max_episode_steps=None):
        super().__init__(gymnasium.make("metarl/PointNavigation-v0"))
        self.task_space = self.env.unwrapped.task_space

    def sample_tasks(self, n, rng):
        return self.env.unwrapped.sample_tasks(n, rng)

    def set_task(self, task):
        self.env.unwrapped.set_task(task)


gymnasium.register("Mine-v0", entry_point=Mine, max_episode_steps=10)
'''

TINY = ["--tasks", "2", "--episodes", "2", "--iterations", "1", "--eval-tasks", "2", "--eval-episodes", "2"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin folder of an environment that holds the wheel; what it depends on comes from this environment."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "--quiet", "--disable-pip-version-check", "--no-deps", wheel, cwd=folder)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # whose own .pth files do not count
    return folder / "bin"


@pytest.fixture
def project(tmp_path):
    """A user's project, with folders called envs, tests and runs."""
    for name in ("envs", "tests", "runs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"WHOSE = 'the user, {name}'\n")
    (tmp_path / "envs" / "mine.py").write_text(MINE)
    return tmp_path


def run(*command, cwd):
    """Run a command without this process's Python path; returns what it prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def test_holds_what_it_should(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"metarl", "metarl_envs"}
    assert {"metarl/py.typed", "metarl_envs/py.typed", "metarl/pretrained/half-cheetah-dir.safetensors"} <= {*names}


def test_packages_are_the_installed_ones(installed, project):
    code = "import metarl as m, metarl_envs as e, envs, tests; print(m.__file__, e.__file__, envs.WHOSE, tests.WHOSE)"
    ours, theirs, *whose = run(installed / "python", "-c", code, cwd=project).split(maxsplit=2)
    assert ours.startswith(str(installed.parent)) and theirs.startswith(str(installed.parent))
    assert whose == ["the user, envs the user, tests\n"]


def test_trains_looks_and_draws(installed, project):
    said = run(installed / "metarl", "train", "point-navigation", *TINY, "--log-dir", "runs/tiny", cwd=project)
    assert "held-out tasks" in said and (project / "runs/tiny/best.safetensors").exists()
    assert "held-out tasks" in run(installed / "metarl", "eval", "runs/tiny", "--tasks", "2", cwd=project)
    run(installed / "metarl", "plot", "runs/tiny", "--out", "curves.png", cwd=project)
    assert (project / "curves.png").stat().st_size > 10_000
    said = run(installed / "metarl", "eval", "pretrained:point-navigation", "--tasks", "2", cwd=project)
    assert "metarl/PointNavigation-v0" in said


def test_trains_on_the_users_environment(installed, project):
    said = run(installed / "metarl", "train", "envs.mine:Mine-v0", *TINY, "--log-dir", "runs/mine", cwd=project)
    assert "envs.mine:Mine-v0" in said and "held-out tasks" in said
