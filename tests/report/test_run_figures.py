"""Figures of runs: which become one curve, what the curve is, and that nothing is cut off or looks alike."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

from metarl import UserError
from metarl.cli.main import main
from metarl.core.statistics import mean_and_interval
from metarl.report import run_figures
from metarl.report.plot import looks
from metarl.report.run_figures import Look, aligned, plot_runs, smoothed
from metarl.report.run_groups import groups_of, labels_of, read_curve, read_progress

SMALL = "--tasks 2 --episodes 2 --horizon 6 --eval-tasks 3 --eval-episodes 2 --iterations 3 --eval-every 2 --no-film"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two seeds of MAML in one folder, and a run of another method beside it."""
    home = tmp_path_factory.mktemp("runs")
    for method, seed in (("maml", 0), ("maml", 1), ("reptile", 0)):
        where = str(home / method / f"seed-{seed}")
        arguments = ["--method", method, "--seed", str(seed), "--log-dir", where]
        assert main(["train", "point-navigation", *SMALL.split(), *arguments]) == 0
    return home


def three_seeds(folder, home):
    """A folder with three seeds of MAML, the last of which is no run of its own."""
    for number, seed in enumerate((0, 1, 1)):
        shutil.copytree(folder / "maml" / f"seed-{seed}", home / "three" / f"seed-{number}")
    curve = home / "three" / "seed-2" / "curve.json"
    found = json.loads(curve.read_text())
    curve.write_text(json.dumps(found | {"per_task": (np.array(found["per_task"]) + 1).tolist()}))
    return sorted((home / "three").iterdir())


def test_runs_that_differ_in_their_seed_are_one_group(folder):
    seeds = [folder / "maml" / f"seed-{seed}" for seed in range(2)]
    for paths in ([folder / "maml", folder / "reptile"], [*seeds, folder / "reptile" / "seed-0", seeds[0]]):
        groups = groups_of(paths)
        assert [group.paths for group in groups] == [seeds, [folder / "reptile" / "seed-0"]]
        assert labels_of(groups) == ["maml (2 seeds)", "reptile"]


@pytest.mark.parametrize("aggregate", ["mean", "iqm"])
def test_the_curves_are_the_runs_means(folder, aggregate, tmp_path):
    """Of three seeds the interquartile mean is the mean."""
    seeds = three_seeds(folder, tmp_path)
    figure = plot_runs([tmp_path / "three"], Look(x=("iterations",), aggregate=aggregate))
    learning, adaptation = figure.axes
    mean = np.mean([read_progress(seed)["meta/return_step1"] for seed in seeds], axis=0)
    assert np.allclose(learning.lines[0].get_ydata(), mean)
    assert np.array_equal(learning.lines[0].get_xdata(), [1, 2, 3])
    curves = np.array([read_curve(seed).mean for seed in seeds])
    assert np.allclose(adaptation.lines[0].get_ydata(), curves.mean(0))
    (band,) = adaptation.collections
    low, high = band.get_paths()[0].get_extents().intervaly
    widest = stats.t.interval(0.95, 2, curves.mean(0), stats.sem(curves))
    assert (low, high) == pytest.approx((widest[0].min(), widest[1].max()))
    bottom, top = adaptation.get_ylim()  # there is room for the seeds, not for all that three seeds leave open
    assert low < bottom < curves.min() and curves.max() < top < high
    assert learning.collections


def test_each_of_two_seeds_is_a_thin_line_and_there_is_no_band(folder):
    figure = plot_runs([folder / "maml"], Look(x=("iterations",)))
    seeds = sorted((folder / "maml").iterdir())
    for axis, whole in zip(
        figure.axes,
        ([read_progress(seed)["meta/return_step1"] for seed in seeds], [read_curve(seed).mean for seed in seeds]),
        strict=True,
    ):
        mean, *thin = axis.lines[:3]
        assert not axis.collections
        assert np.allclose([line.get_ydata() for line in thin], whole)
        assert all(line.get_linewidth() < mean.get_linewidth() / 2 for line in thin)
        low, high = axis.get_ylim()
        assert low < np.min(whole) and np.max(whole) < high
    assert "one seed" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("method", ["maml", "reptile"])
def test_the_learning_curve_on_held_out_tasks_is_that_by_which_the_best_is_chosen(folder, method):
    run = folder / method / "seed-0"
    learning, _ = plot_runs([run], Look(x=("iterations",), tasks="held-out")).axes
    table = read_progress(run)
    steps = json.loads((run / "config.json").read_text())["config"]["method"]["inner_steps"]
    for line, step in zip(learning.lines, (min(steps, 3), 0), strict=True):
        assert list(line.get_xdata()) == [2, 3]  # the iterations after which it was evaluated
        assert np.allclose(line.get_ydata(), table[f"eval/return_step{step}"][[1, 2]])
    assert "held-out tasks" in learning.get_title() and "training" not in learning.get_title()


def test_the_held_out_curves_of_seeds_are_their_mean(folder, tmp_path):
    seeds = three_seeds(folder, tmp_path)
    assert main(["plot", str(tmp_path / "three"), "--tasks", "held-out", "--out", str(tmp_path / "x.png")]) == 0
    learning, _ = plot_runs([tmp_path / "three"], Look(x=("steps",), tasks="held-out")).axes
    values = np.array([read_progress(seed)["eval/return_step1"][[1, 2]] for seed in seeds])
    assert np.allclose(learning.lines[0].get_ydata(), values.mean(0)) and learning.collections


def test_a_run_without_evaluations_has_no_curve_on_held_out_tasks(folder, tmp_path, capsys):
    run = shutil.copytree(folder / "maml" / "seed-0", tmp_path / "run")
    header, *rows = (run / "progress.csv").read_text().splitlines()
    kept = [number for number, name in enumerate(header.split(",")) if not name.startswith("eval/")]
    lines = [",".join(row.split(",")[number] for number in kept) for row in (header, *rows)]
    (run / "progress.csv").write_text("\n".join([*lines, ""]))
    assert main(["plot", str(run), "--tasks", "held-out"]) == 2
    assert "has no evaluations of its return on held-out tasks" in capsys.readouterr().err


@pytest.mark.parametrize(("aggregate", "seeds"), [("mean", 3), ("mean", 8), ("iqm", 8)])
def test_the_interval_over_seeds_holds_the_truth_as_often_as_it_says(aggregate, seeds):
    drawn = np.random.default_rng(0).normal(size=(seeds, 4000))
    centre, low, high = mean_and_interval(drawn, aggregate)
    assert np.allclose(centre, stats.trim_mean(drawn, 0.25 * (aggregate == "iqm"), axis=0))
    assert np.mean((low < 0) & (high > 0)) == pytest.approx(0.95, abs=0.02)
    if aggregate == "mean":
        assert np.allclose((low, high), stats.t.interval(0.95, seeds - 1, drawn.mean(0), stats.sem(drawn)))


def test_what_is_no_number_in_one_seed_is_none_in_their_mean():
    values = np.arange(16.0).reshape(8, 2)
    values[3, 0] = np.nan
    for aggregate in ("mean", "iqm"):
        assert np.isfinite(mean_and_interval(values, aggregate)).all(0).tolist() == [False, True]


def test_with_one_seed_the_interval_is_empty():
    centre, low, high = mean_and_interval(np.ones((1, 3)))
    assert np.array_equal(low, centre) and np.array_equal(high, centre)


def test_smoothing_is_a_mean_of_what_came_before():
    values = np.array([1.0, 3.0, np.nan, 5.0, 7.0])
    assert np.allclose(smoothed(values, 2), [1, 2, 3, 5, 6])
    assert np.array_equal(smoothed(values, 1), values, equal_nan=True)


def test_curves_of_other_lengths_are_drawn_as_far_as_all_go():
    xs, ys = [np.array([0.0, 10.0]), np.array([0.0, 4.0, 8.0])], [np.array([0.0, 1.0]), np.array([0.0, 2.0, 4.0])]
    grid, values = aligned(xs, ys)
    assert grid[0] == 0 and grid[-1] == 8
    assert np.allclose(values[:, -1], [0.8, 4])
    with pytest.raises(UserError, match="no part of the x-axis in common"):
        aligned([np.array([0.0, 1.0]), np.array([2.0, 3.0, 4.0])], [np.zeros(2), np.zeros(3)])


def test_no_two_curves_look_alike():
    assert len(set(looks(32))) == 32
    with pytest.raises(UserError, match="at most 32"):
        looks(33)


def lasting(table, seconds):
    """A run's table, as if it had taken so long."""
    return table | {"time/total_seconds": np.linspace(seconds / 3, seconds, len(table["time/total_seconds"]))}


@pytest.mark.parametrize("look", [Look(), Look(style="paper"), Look(size=(6, 3)), Look(size=(3.25, 6), style="paper")])
@pytest.mark.parametrize("seconds", [0.067, 1.0, 47.0, 1234.0, 98_765.0])
def test_nothing_is_cut_off_and_no_labels_overlap(folder, look, seconds, monkeypatch):
    monkeypatch.setattr(run_figures, "read_progress", lambda path: lasting(read_progress(path), seconds))
    figure = plot_runs([folder / "maml", folder / "reptile"], look)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    box, whole = figure.get_tightbbox(renderer), figure.bbox_inches
    assert box.x0 >= whole.x0 and box.y0 >= whole.y0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
    for axis in figure.axes:
        assert axis.get_xlabel()
        shown = [label.get_window_extent(renderer) for label in axis.get_xticklabels()]
        shown = [box for box in shown if axis.bbox.x0 - 1 <= (box.x0 + box.x1) / 2 <= axis.bbox.x1 + 1]
        assert all(left.x1 < right.x0 for left, right in pairwise(shown))


def test_paper_is_vector_with_fonts_of_its_own(folder):
    assert main(["plot", str(folder / "maml"), "--style", "paper", "--x", "iterations", "--labels", "MAML"]) == 0
    with open("runs.pdf", "rb") as file:
        pdf = file.read()
    assert pdf.startswith(b"%PDF") and b"/Subtype /Image" not in pdf and b"/Type0" in pdf.replace(b" ", b"")


def test_success_is_drawn_in_place_of_the_return(tmp_path):
    run = tmp_path / "run"
    assert main(["train", "sparse-navigation", *SMALL.split(), "--log-dir", str(run)]) == 0
    learning, adaptation = plot_runs([run], Look(x=("iterations",), measure="success")).axes
    assert learning.get_ylabel() == "success"
    assert np.array_equal(learning.lines[0].get_ydata(), read_progress(run)["meta/success_step1"])
    found = json.loads((run / "curve.json").read_text())["success"]["mean"]
    assert np.array_equal(adaptation.lines[0].get_ydata(), found)


@pytest.mark.parametrize("look", [Look(), Look(style="paper")])
def test_runs_that_were_not_evaluated_are_named_where_they_lack(folder, tmp_path, look):
    runs = [shutil.copytree(folder / "reptile" / "seed-0", tmp_path / name) for name in ("first", "second", "third")]
    for run, tasks in zip(runs, (3, 4, 5), strict=True):
        (run / "curve.json").unlink()
        config = json.loads((run / "config.json").read_text())
        config["config"]["tasks"] = tasks
        (run / "config.json").write_text(json.dumps(config))
    figure = plot_runs([folder / "maml", runs[0]], look)
    assert figure.axes[-1].get_title() == "held-out tasks\nwithout reptile: not evaluated"
    figure = plot_runs([folder / "maml", *runs], look)
    assert figure.axes[-1].get_title() == "held-out tasks\nwithout first, second, ...: not evaluated"
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    assert figure.get_tightbbox(renderer).x1 <= figure.bbox_inches.x1


@pytest.mark.parametrize(
    ("tasks", "message"),
    [("train", "has no return on training tasks"), ("held-out", "has no evaluations of its return on held-out tasks")],
)
def test_a_seed_whose_table_lacks_what_is_drawn_is_named(tasks, message, folder, tmp_path, capsys):
    shutil.copytree(folder / "maml", tmp_path / "maml")
    table = tmp_path / "maml" / "seed-1" / "progress.csv"
    table.write_text(table.read_text().replace("meta/return", "meta/loss").replace("eval/return", "eval/loss"))
    assert main(["plot", "maml", "--tasks", tasks]) == 2
    assert capsys.readouterr().err == f"metarl: 'maml/seed-1' {message}\n"


def test_bad_input_is_one_line(folder, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(folder / "maml" / "seed-0", other)
    record = json.loads((other / "config.json").read_text())
    record["config"]["env"] = "metarl/Bandit-v0"
    (other / "config.json").write_text(json.dumps(record))
    for arguments, message in [
        ([str(folder / "maml"), "--labels", "a", "b"], "1 curves, 2 labels"),
        ([str(folder / "maml"), "--smooth", "0"], "smooth must be at least 1"),
        ([str(folder / "maml"), "--size", "0", "3"], "size must be"),
        ([str(folder / "maml"), str(other)], "these are of metarl/Bandit-v0, metarl/PointNavigation-v0"),
        ([str(folder)], "holds no run"),
        ([str(folder / "maml"), "--measure", "success"], "has no success: its environment tells none"),
    ]:
        assert main(["plot", *arguments]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1


def test_a_memory_and_gradient_steps_are_drawn_against_episodes_seen(folder):
    run = folder / "rl2" / "seed-0"
    assert main(["train", "point-navigation", *SMALL.split(), "--method", "rl2", "--log-dir", str(run)]) == 0
    learning, *_ = plot_runs([folder / "rl2"], Look(tasks="held-out")).axes
    lifetime = json.loads((run / "config.json").read_text())["config"]["method"]["lifetime"]
    found = read_progress(run)[f"eval/return_step{min(lifetime - 1, 3)}"]
    assert np.allclose(learning.lines[0].get_ydata(), found[np.isfinite(found)])
    *_, alone = plot_runs([folder / "rl2"]).axes
    assert (alone.get_xlabel(), alone.get_xscale()) == ("episodes seen", "linear")
    *_, adaptation = plot_runs([folder / "maml", run]).axes
    assert adaptation.get_xlabel() == "episodes of the task seen"
    gradient, memory = (list(line.get_xdata()) for line in adaptation.lines if line.get_marker() == "o")
    assert gradient == [0, 2, 4, 6]  # two episodes a step
    assert memory == [0, 1, 2, 3]
    scale = adaptation.xaxis.get_transform().transform
    (left, right), (first, last) = scale(np.array(adaptation.get_xlim())), scale(np.array([0.0, 6.0]))
    margins = (first - left) / (right - left), (right - last) / (right - left)
    assert all(0.02 < margin < 0.06 for margin in margins)  # room for a marker, and no more
    older = run / "curve.json"
    found = json.loads(older.read_text())
    del found["episodes_per_step"]  # as versions before wrote it
    older.write_text(json.dumps(found))
    *_, adaptation = plot_runs([folder / "maml", run]).axes
    assert adaptation.get_xlabel() == "episodes seen or gradient steps"


def test_a_curve_tells_its_tasks_and_one_without_is_read_too(folder, tmp_path, capsys):
    run = shutil.copytree(folder / "maml" / "seed-0", tmp_path / "run")
    found = json.loads((run / "curve.json").read_text())
    curve = read_curve(run)
    assert np.shape(found["tasks"]) == (3, 2) and curve.tasks.tolist() == found["tasks"]
    (run / "curve.json").write_text(json.dumps({name: value for name, value in found.items() if name != "tasks"}))
    assert read_curve(run).tasks is None and "tasks" not in read_curve(run).as_dict()
    (run / "curve.json").write_text(json.dumps(found | {"tasks": found["tasks"][:2]}))
    assert main(["plot", str(run)]) == 2
    assert "is damaged (tasks is (2, 2), not 3 tasks by their size)" in capsys.readouterr().err


def test_no_success_in_the_last_evaluation_is_no_damage(folder):
    run = folder / "maml" / "seed-0"
    assert read_curve(run) is not None and read_curve(run, "success") is None
