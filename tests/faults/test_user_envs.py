"""Environments of a user's that fail: the user's own error or one clear line with the task, and never a hang."""

import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from contextlib import ExitStack

import numpy as np
import pytest
from broken_envs import Line, register
from processes import Command, children, running

import metarl
from metarl import UserError
from metarl.rl.environments import make_vec

SIZES = {"tasks": 3, "episodes": 1, "horizon": 60, "hidden": (4,), "inner_lr": 0.1}


@pytest.fixture(autouse=True)
def no_hang():
    """A test that hangs ends here."""

    def stop(*args):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(100)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def learn(fault, vectorization, step=3):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Gymnasium prints the traceback of its processes as warnings
        model = metarl.MAML(lambda: Line(fault, step), vectorization=vectorization, **SIZES)
        try:
            model.learn(1)
        finally:
            model.close()


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize(("fault", "where"), [("constructor", "__init__"), ("reset", "reset"), ("step", "go_wrong")])
def test_the_users_own_error_comes_out(fault, where, vectorization, observe):
    with pytest.raises(ZeroDivisionError, match=f"in the user's {fault}") as found:
        learn(fault, vectorization, 37)
    if vectorization == "sync" or fault == "constructor":
        last = traceback.extract_tb(found.value.__traceback__)[-1]
        assert (os.path.basename(last.filename), last.name) == ("broken_envs.py", where)
    at = " 37" * (fault == "step")
    observe(f"the env raises in its {fault}{at}, {vectorization}", f"`ZeroDivisionError: {found.value}`, the env's own")


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"observation must be numbers of shape \(2,\), got float32 of shape \(3,\)"),
        ("text", r"observation must be numbers of shape \(2,\), got array\(\['a', 'b'\]"),
        ("none", r"reward must be numbers of shape \(\), got None"),
        ("vector", r"reward must be numbers of shape \(\), got float64 of shape \(2,\)"),
    ],
)
def test_what_does_not_fit_is_named_with_task_and_step(fault, message, vectorization, observe):
    with pytest.raises(UserError, match=rf"<Line.*> in task \[0.2\] at step 5: {message}") as found:
        learn(fault, vectorization, 5)
    observe(f"the env returns a wrong {fault}, {vectorization}", f"`{found.value}`")


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_a_nan_is_named(vectorization):
    with pytest.raises(FloatingPointError, match=r"reward is not finite in task 1 \(\[0.2\]\) at step 4"):
        learn("reward nan", vectorization, 5)


def test_a_lost_connection_of_the_users_own_comes_out():
    class Remote(Line):
        def step(self, action):
            raise ConnectionResetError("the simulator is gone")

    model = metarl.MAML(Remote, vectorization="sync", **SIZES)
    with pytest.raises(ConnectionResetError, match="the simulator is gone"):
        model.learn(1)
    model.close()


def test_a_process_that_dies_is_named(observe):
    with pytest.raises(UserError, match=r"a process of <Line.*> died: that of row.* 1 with exit code 3") as found:
        learn("exit", "async")
    observe("a process of environments exits", f"`{found.value}`")


def test_a_process_that_is_killed_is_named_and_the_others_end(observe):
    env = make_vec(Line, 3, horizon=8, vectorization="async", processes=2)
    env.set_tasks(np.array([[0.1], [0.2], [0.3]]))
    env.reset(seed=[1, 2, 3])
    os.kill(env.env.processes[1].pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"row 2 with exit code -9"):
        for _ in range(2):
            env.step(np.zeros((3, 1), np.float32))
    env.close()
    assert not any(process.is_alive() for process in env.env.processes)
    observe("a process of environments is killed", "named with its row; the others end")


def test_a_process_that_dies_while_its_env_is_made():
    parent = os.getpid()

    class Deadly(Line):
        def __init__(self):
            super().__init__()
            if os.getpid() != parent:
                os._exit(1)

    with pytest.raises(UserError, match=r"a process of <Deadly.*> died while the environment was made in it"):
        make_vec(Deadly, 2, horizon=8, vectorization="async")


def test_an_env_that_never_ends_is_cut():
    model = metarl.MAML(Line, **{**SIZES, "horizon": 7})
    data = model.trainer.workers.collect(metarl.core.params.flatten(model.trainer.params.values()), 0)
    assert (data["lengths"] == 7).all()
    with pytest.raises(UserError, match="no time limit; give a horizon"):
        metarl.MAML(Line)


def test_sampling_asleep_is_left_by_close():
    """A second Ctrl-C in the middle of a step: nothing waits for what may never come."""

    class Asleep(Line):
        def step(self, action):
            time.sleep(1000)

    env = make_vec(Asleep, 2, horizon=8, vectorization="async")
    env.set_tasks(np.array([[0.1], [0.2]]))
    env.reset(seed=[1, 2])
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with pytest.raises(TimeoutError):
        env.step(np.zeros((2, 1), np.float32))
    env.close()
    assert not any(process.is_alive() for process in env.env.processes)


ASYNC = ["train", "point-navigation", "--env", "Line-v0", "--vectorization", "async", "--tasks", "2", "--episodes", "1"]


def descendants(pid):
    found = children(pid)
    return found + [deeper for child in found for deeper in descendants(child)]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT SIGINT", "SIGKILL"])
def test_no_process_is_left_behind(name, tmp_path, observe):
    run = Command([*ASYNC, "--iterations", "100000", "--log-dir", str(tmp_path / "run")], tmp_path, register)
    run.wait_for("iteration 2/")
    started = descendants(run.pid)
    assert len(started) >= 3  # two environments, and the server that they come from
    for signum in name.split():
        run.send(signum)
        time.sleep(0.05)
    # the second SIGINT may find an interpreter that is ending already, which it then ends at once
    status = run.end()
    assert status in {"SIGTERM": [143], "SIGINT SIGINT": [130, -2], "SIGKILL": [-9]}[name]
    end = time.time() + 20
    while any(running(pid) for pid in started):
        assert time.time() < end, "processes are left"
        time.sleep(0.05)
    observe(f"{name} with an env in processes", f"status {status}; none of {len(started)} processes is left")


def register_in_a_session():
    os.setsid()
    register()


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM"])
def test_a_signal_to_all_processes_waits_for_the_iteration(name, tmp_path, observe):
    """What a terminal that closes, or a scheduler, sends."""
    options = ["--checkpoint-every", "100000", "--iterations", "100000", "--log-dir", str(tmp_path / "run")]
    run = Command([*ASYNC, *options], tmp_path, register_in_a_session)
    run.wait_for("iteration 2/")
    started = descendants(run.pid)
    os.killpg(run.pid, getattr(signal, name))
    assert run.end() == 128 + getattr(signal, name), run.said
    assert run.said == f"metarl: stopped by {name}; saved, --resume goes on\n"
    end = time.time() + 20
    while any(running(pid) for pid in started):
        assert time.time() < end, "processes are left"
        time.sleep(0.05)
    observe(f"{name} to all processes of a run with an env in processes", f"`{run.said.strip()}`; none is left")


OWN_SCRIPT = """
import time, torch, numpy as np, metarl
from broken_envs import Line
class Mine(Line):
    def reset(self, **kwargs):
        torch.randn(300, 300) @ torch.randn(300, 300)
        return super().reset(**kwargs)
class Odd(Exception):
    def __init__(self, a, b): super().__init__(a)
class Fails(Line):
    def step(self, action): raise Odd("went wrong", 2)
class Sleeps(Line):
    def step(self, action): time.sleep(1000)
torch.set_num_threads(2)
torch.randn(900, 900) @ torch.randn(900, 900)  # OpenMP has its threads
sizes = dict(vectorization="async", tasks=2, episodes=1, horizon=5, hidden=(4,), eval_every=1, eval_tasks=2)
model = metarl.MAML(Mine, eval_episodes=1, **sizes).learn(1)
model.close()
print("learned")
import warnings; warnings.simplefilter("ignore")
try:
    metarl.MAML(Fails, **sizes).learn(1)
except RuntimeError as error:
    print(error)
lock = __import__("threading").Lock()
try:
    metarl.MAML(lambda: (lock, Line())[1], **sizes)
except metarl.UserError as error:
    print(error)
print("asleep", flush=True)
metarl.MAML(Sleeps, **sizes).learn(1)
"""


def test_a_plain_script_whose_environment_uses_torch(tmp_path, observe):
    (tmp_path / "own.py").write_text(OWN_SCRIPT)  # without `if __name__ == "__main__"`
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    how = {"env": {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "2"}, "text": True}
    how |= {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    with subprocess.Popen([sys.executable, "own.py"], **how) as run, ExitStack() as at_the_end:
        at_the_end.callback(run.kill)  # a test that fails does not wait for it
        said = [run.stdout.readline().strip() for _ in range(4)]
        assert said[0] == "learned" and said[1] == "Odd: went wrong" and said[3] == "asleep", said
        assert said[2].startswith("the environment cannot be sent to a process (TypeError: cannot pickle")
        while len(started := descendants(run.pid)) < 4:
            assert run.poll() is None
        time.sleep(2)  # they sleep in a step by now
        os.kill(run.pid, signal.SIGKILL)
    end = time.time() + 20
    while any(running(pid) for pid in started):
        assert time.time() < end, "processes are left"
        time.sleep(0.05)
    observe("an env in processes uses torch, in a script of its own", "trains and evaluates; kill -9 leaves no process")
