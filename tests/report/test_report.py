"""Figures, films and TensorBoard, as a real `tensorboard` serves them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import metarl
from metarl.cli import main
from metarl.experiment import film
from metarl.experiment.film import BANNER, film_adaptation
from metarl.report.plot import plot_paths

SMALL = "--tasks 3 --episodes 3 --horizon 8 --eval-tasks 2 --eval-episodes 2 --iterations 4 --eval-every 2".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "navigation"
    assert main(["train", "point-navigation", *SMALL, "--log-dir", str(directory)]) == 0
    return directory


def test_plot_draws_runs_of_one_environment(run, tmp_path, capsys):
    assert main(["plot", str(run), str(run), "--out", str(tmp_path / "runs.png")]) == 0
    picture = matplotlib.image.imread(tmp_path / "runs.png")
    assert picture.shape[0] > 400 and picture.std() > 0.05


def test_plot_refuses_what_it_cannot_draw(run, tmp_path, capsys):
    other = tmp_path / "cheetah"
    assert main(["train", "half-cheetah-dir", *SMALL, "--iterations", "1", "--log-dir", str(other)]) == 0
    empty = tmp_path / "empty"
    (empty).mkdir()
    (empty / "config.json").write_text((run / "config.json").read_text())
    (empty / "progress.csv").write_text("")
    capsys.readouterr()
    for arguments, message in [
        ([], "needs a run directory"),
        (["nowhere"], "nowhere' holds no run"),
        ([str(run), str(empty / "none")], "none' holds no run (no config.json)"),
        ([str(run), str(other)], "these are of metarl/HalfCheetahDir-v0, metarl/PointNavigation-v0"),
        ([str(empty)], "is empty or damaged"),
        ([str(run), "--out", "x.nonsense"], "x.nonsense': "),
    ]:
        assert main(["plot", *arguments]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1


def test_damaged_files_of_a_run(run, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    go_on = ["train", "point-navigation", "--log-dir", str(broken), "--resume", "--iterations"]
    for events in broken.glob("events.out.tfevents.*"):
        events.write_bytes(events.read_bytes()[:-7] + b"garbage")
    assert main(["plot", str(broken)]) == 0
    assert main([*go_on, "5"]) == 0
    for name, content, command in [
        ("curve.json", '{"steps": [0', ["plot", str(broken)]),
        ("progress.csv", "time/total_timesteps\nx\n", [*go_on, "6"]),
        ("config.json", "{", ["plot", str(broken)]),
    ]:
        (broken / name).write_text(content)
        capsys.readouterr()
        assert main(command) == 2
        said = capsys.readouterr().err
        assert name in said and "is damaged" in said and said.count("\n") == 1


def test_figures_of_curves_and_paths(run):
    model = metarl.load(run)
    curve = metarl.adaptation_curve(model, steps=2, tasks=3, episodes=2)
    axis = Figure().subplots()
    curve.draw(axis, "black", "by steps")
    curve.draw(axis, "black", "by episodes", by_episodes=True)
    assert [list(line.get_xdata()) for line in axis.lines] == [[0, 1, 2], [0, 2, 4]]
    assert all(np.allclose(line.get_ydata(), curve.mean) for line in axis.lines)
    figure = plot_paths(model, steps=2, tasks=3)
    path = figure.axes[0].lines[0].get_xydata()
    assert len(figure.axes) == 9
    shown = [float(axis.get_title().split(": ")[1]) for axis in figure.axes]
    curve = metarl.adaptation_curve(model, steps=2, tasks=3, episodes=2, seed=0)
    assert np.allclose(np.reshape(shown, (3, 3)), curve.per_task, atol=0.051)  # the curve's steps, later_lr too
    assert not path[0].any()  # from the origin
    assert np.abs(np.diff(path, axis=0)).max() <= 0.1 + 1e-6


def test_a_film_shows_the_task_before_and_after(run, capsys):
    frames, fps = film_adaptation(metarl.load(run).trainer, task=[0.3, 0.2])
    assert frames.dtype == np.uint8 and frames.shape[0] == 9 and frames.shape[2] == 2 * (frames.shape[1] - BANNER)
    assert fps > 0
    banners = frames[:, :BANNER]
    assert len({banner.tobytes() for banner in banners}) == 9  # step and return are in each picture
    assert main(["video", str(run)]) == 0
    with Image.open(run / "adaptation.gif") as film:
        assert film.n_frames > 1
    assert main(["video", str(run), "--task", "3", "3"]) == 2
    assert "outside its task space" in capsys.readouterr().err


def test_a_film_that_cannot_be_written_is_refused_before_it_is_made(capsys, monkeypatch):
    monkeypatch.setattr(film, "find_spec", lambda name: None)
    for out, message in [("film.avi", "a film is .gif or .mp4, not '.avi'"), ("film.mp4", "needs imageio-ffmpeg")]:
        assert main(["video", "pretrained:ant-dir", "--out", out]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1


def test_a_recurrent_policy_is_filmed_remembering_its_episode(capsys):
    model = metarl.RL2("metarl/PointNavigation-v0", tasks=2, episodes=2, horizon=8, hidden=(8,), action_scale=0.1)
    frames, _ = film_adaptation(model.trainer, task=[0.3, 0.2], side=64, longest=4)
    assert frames.shape == (5, 64 + BANNER, 2 * 64, 3)
    first = model.policy
    act = first.predict(np.zeros(2), deterministic=True)[0]
    with pytest.warns(UserWarning, match="call see"):
        again = first.predict(np.zeros(2), deterministic=True)[0]
    assert np.array_equal(again, act)  # predicting alone changes nothing
    first.see(-1.0)
    assert not np.array_equal(first.predict(np.zeros(2), deterministic=True)[0], act)


def test_a_film_at_every_evaluation_changes_nothing_else(run, tmp_path, monkeypatch):
    quiet = tmp_path / "quiet"
    assert main(["train", "point-navigation", *SMALL, "--no-film", "--log-dir", str(quiet)]) == 0
    ours, theirs = (metarl.load(path, best=False).trainer.params for path in (run, quiet))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert len({event.step for event in images(run)["pictures/film"]}) == 2
    assert "pictures/film" not in images(quiet)
    monkeypatch.setattr(film, "single_env", lambda *args, **options: (_ for _ in ()).throw(RuntimeError("no OpenGL")))
    with pytest.warns(UserWarning, match="no films in TensorBoard: no OpenGL"):
        assert main(["train", "point-navigation", *SMALL, "--log-dir", str(tmp_path / "blind")]) == 0
    assert (tmp_path / "blind" / "best.safetensors").exists()


def images(directory):
    """The pictures in a run's event files, by tag."""
    events = EventAccumulator(str(directory), size_guidance={"images": 0}).Reload()
    return {tag: events.Images(tag) for tag in events.Tags()["images"]}


@pytest.mark.parametrize("env", ["PointNavigation", "SparseNavigation", "CornerNavigation"])
def test_eval_draws_paths_in_the_plane(env, tmp_path, capsys):
    sizes = {"tasks": 2, "episodes": 2, "horizon": 8, "hidden": (8,), "eval_episodes": 2}
    metarl.MAML(f"metarl/{env}-v0", **sizes).save(tmp_path / "model")
    file, few = str(tmp_path / "paths.png"), ["--tasks", "2", "--episodes", "2", "--steps", "1"]
    assert main(["eval", str(tmp_path / "model.safetensors"), *few, "--figure", file]) == 0
    assert matplotlib.image.imread(file).std() > 0.05
    assert main(["eval", "pretrained:half-cheetah-dir", *few, "--figure", file]) == 2
    assert "paths are drawn of 2-D navigation only" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tensorboard(run):
    """The real server on the run: its address, and what waits for an answer."""
    main(["video", str(run)])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run), "--host", "127.0.0.1"]
    log = open(run.parent / "tensorboard.log", "w")
    server = subprocess.Popen([*command, "--port", str(port), "--load_fast", "false"], stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}", server
    server.terminate()
    server.wait()
    log.close()


def test_tensorboard_serves_scalars_images_histograms_and_hparams(tensorboard):
    """Ask as its page does."""
    address, server = tensorboard

    def ask(path):
        with urllib.request.urlopen(f"{address}/data/{path}", timeout=10) as answer:
            return json.load(answer)

    tags = _until(lambda: ask("plugin/scalars/tags").get("."), server)
    assert {"meta/return_step1", "eval/return_step3", "time/fps"} <= set(tags)
    points = ask("plugin/scalars/scalars?tag=meta/return_step1&run=.")
    assert len(points) == 4 and points[0][1] < points[-1][1]
    images = _until(lambda: ask("plugin/images/tags").get("."), server)
    assert {"pictures/adaptation_curve", "pictures/film"} <= set(images)
    histograms = ask("plugin/histograms/tags")["."]
    assert {"weights/mean.0", "weights_change/mean.0"} <= set(histograms) and len(histograms) == 8
    assert min(histograms) > max(set(tags) | set(images))  # so that its page opens on curves
    assert "run/text_summary" in ask("plugin/text/tags")["."]
    layout = ask("plugin/custom_scalars/layout")
    assert [category["title"] for category in layout["category"]] == ["returns", "seconds of an iteration"]
    url, kind = f"{address}/data/plugin/hparams/experiment", {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=b"{}", method="POST", headers=kind)
    with urllib.request.urlopen(request, timeout=10) as answer:
        found = json.load(answer)
    names = [info["name"] for info in found["hparamInfos"]]
    assert names[:5] == ["env", "episodes", "method", "method.inner_lr", "tasks"]
    assert next(info["name"]["tag"] for info in found["metricInfos"]) == "eval/return_step1"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_its_page_shows_the_curves(tensorboard, tmp_path):
    address, server = tensorboard
    _until(lambda: urllib.request.urlopen(f"{address}/data/plugin/custom_scalars/layout").read(), server)
    picture = tmp_path / "page.png"
    size = ["--hide-scrollbars", "--window-size=1400,900", "--virtual-time-budget=60000"]
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    command = [*browser, *size, f"--screenshot={picture}", f"{address}/#custom_scalars"]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    red, green, blue = (matplotlib.image.imread(picture)[80:, 360:, :3] * 255).astype(int).transpose(2, 0, 1)
    assert ((red > 200) & (green < 180) & (blue < 120)).sum() > 500  # only the curves are orange below the bar


def _until(ask, server, seconds=60):
    """Ask until the server is up and has read the run."""
    started = time.time()
    while time.time() < started + seconds:
        assert server.poll() is None, "tensorboard ended"
        try:
            if answer := ask():
                return answer
        except OSError:
            pass
        time.sleep(0.3)
    raise TimeoutError(os.fspath("tensorboard"))
