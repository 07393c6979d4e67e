"""Methods and baselines compared: the statistics, the networks handed over, and whole runs."""

import csv
import dataclasses
import io
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console
from scipy import stats
from torch.testing import assert_close

from metarl import UserError
from metarl.cli import main
from metarl.cli.compare import labels
from metarl.cli.tables import results_table
from metarl.core import params as P
from metarl.evaluation import Evaluation
from metarl.experiment.build import Parts, build_inner_loop
from metarl.experiment.presets import PRESETS
from metarl.methods import METHODS
from metarl.report import baselines
from metarl.report.baselines import oracle_curve, train_baseline
from metarl.report.benchmark import Protocol, benchmark
from metarl.report.comparison import compare_scratch, draw, summarise
from metarl.sb3.convert import as_params

SMALL = dataclasses.replace(
    PRESETS["point-navigation"], tasks=3, episodes=4, horizon=8, hidden=(8, 8), eval_tasks=2, eval_episodes=2
)
TINY = Protocol(budget=300, steps=1, tasks=3, episodes=2)


@pytest.mark.parametrize(
    ("methods", "unit", "seen"),
    [
        (["maml", "random"], "gradient steps", [[0, 1, 2], [0, 1, 2]]),
        (["maml", "rl2", "varibad"], "episodes of the task seen", [[0, 20, 40], [0, 1, 2], [0, 1, 2]]),
    ],
)
def test_memories_and_gradient_methods_are_drawn_against_the_episodes_seen(methods, unit, seen):
    row = {"mean": [0.0, 1.0, 2.0], "ci_low": [0.0, 0.5, 1.5], "ci_high": [0.5, 1.5, 2.5], "by_seed": [[0.0, 1.0, 2.0]]}
    protocol = {"budget": 1000, "steps": 2, "episodes": 20}
    summary = {"env": "x", "seeds": 1, "protocol": protocol, "methods": {}}
    summary["methods"] = {method: row | {"remembers": method in ("rl2", "varibad")} for method in methods}
    (axis,) = draw(summary).axes
    assert axis.get_xlabel() == unit
    assert [list(line.get_xdata()) for line in axis.lines] == seen


def test_the_interval_is_over_the_seeds_and_of_a_lone_one_over_its_tasks():
    rng = np.random.default_rng(0)
    of_tasks, of_seeds = rng.normal(0, 100, size=(20, 1)), np.array([-30.0, 0.0, 30.0])

    def row(seeds):
        runs = [{"per_task": (of_tasks + seed).tolist(), "train_steps": 1, "seconds": 1.0} for seed in seeds]
        return summarise({"maml": runs})["maml"]

    several, one = row(of_seeds), row(of_seeds[1:2])
    assert several["mean"] == pytest.approx(one["mean"])
    assert one["mean"] == pytest.approx([of_tasks.mean()])
    ends = stats.t.interval(0.95, 2, of_tasks.mean(), stats.sem(of_seeds))
    assert (several["ci_low"][0], several["ci_high"][0]) == pytest.approx(ends)
    ends = stats.t.interval(0.95, 19, of_tasks.mean(), stats.sem(of_tasks[:, 0]))
    assert (one["ci_low"][0], one["ci_high"][0]) == pytest.approx(ends)
    assert np.allclose(several["by_seed"], (of_seeds + of_tasks.mean())[:, None])


def test_the_gap_from_random_to_oracle():
    def runs(*curve):
        return [{"per_task": [list(curve)] * 3, "train_steps": 1, "seconds": 1.0}]

    rows = summarise({"random": runs(-80.0, -60.0), "maml": runs(-40.0, -10.0), "oracle": runs(0.0, 0.0)})
    assert rows["maml"]["gap_closed"] == pytest.approx([0.5, 0.875])
    assert rows["maml"]["gain_step1"] == pytest.approx(30.0)


def test_ppos_policy_network_becomes_ours():
    model, _ = train_baseline("pretrained", SMALL, 1)
    inner_loop = build_inner_loop(SMALL, Parts(), 1, 1)
    params = as_params(model, P.params_of(inner_loop.sampler.policy))
    obs = torch.randn(5, 2)
    ours = torch.func.functional_call(inner_loop.sampler.policy, params, (obs,))
    theirs = model.policy.get_distribution(obs).distribution
    assert_close(ours.mean, theirs.mean)
    assert_close(ours.log_std.exp().expand_as(ours.mean), theirs.stddev)
    with pytest.raises(UserError, match="has shape"):
        as_params(
            model,
            P.params_of(build_inner_loop(dataclasses.replace(SMALL, hidden=(9, 8)), Parts(), 1, 1).sampler.policy),
        )


def test_the_oracle_sees_its_task_and_its_curve_is_flat():
    model, learned = train_baseline("oracle", SMALL, 1)
    assert [steps for steps, _ in learned] == [1200]
    assert model.observation_space.shape == (4,)
    how = Evaluation(SMALL.env, steps=2, seed=0)
    curve = oracle_curve(model, SMALL, how, tasks=3, episodes=2)
    assert curve.per_task.shape == (3, 3)
    assert np.array_equal(curve.per_task[:, 0], curve.per_task[:, 2])
    assert np.array_equal(curve.per_task, oracle_curve(model, SMALL, how, tasks=3, episodes=2).per_task)


@pytest.mark.parametrize("by_seed", [[[0.0, 1.0]], [[-0.1, 0.9], [0.1, 1.1]], [[-0.1, 0.9], [0.1, 1.1], [0.0, 1.0]]])
def test_there_is_room_for_the_interval_of_one_seed_and_for_several_seeds(by_seed):
    row = {"mean": [0.0, 1.0], "ci_low": [-5.0, -5.0], "ci_high": [5.0, 5.0], "by_seed": by_seed, "remembers": False}
    summary = {"env": "x", "seeds": len(by_seed), "protocol": {"budget": 1000, "steps": 1, "episodes": 20}}
    (axis,) = draw(summary | {"methods": {"maml": row}}).axes
    low, high = axis.get_ylim()
    assert (low < -5 and high > 5) == (len(by_seed) == 1) and low < -0.1 * (len(by_seed) > 1) and high > 1
    thin = [list(line.get_ydata()) for line in axis.lines if line.get_marker() != "o" and len(line.get_ydata())]
    assert thin == (by_seed if len(by_seed) == 2 else []) and bool(axis.collections) == (len(by_seed) != 2)


@pytest.mark.parametrize("methods", [1, 7])
def test_a_figure_for_a_paper_is_as_wide_as_a_column_and_nothing_is_cut_off_or_overlaps(methods):
    row = {"mean": [0.0, 1.0], "ci_low": [-0.5, 0.5], "ci_high": [0.5, 1.5], "by_seed": [[0.0, 1.0]]}
    names = [*METHODS, "random", "oracle"][:methods]
    summary = {"env": "metarl/HumanoidDirection2D-v0", "seeds": 1, "protocol": {"budget": 8_000_000, "steps": 1}}
    summary["methods"] = {name: row | {"remembers": False} for name in names}
    for steps in ([2000, 4000, 30_000], [1000, 50_000, 3_000_000]):
        scratch = {"tasks": [[0.0]], "env_steps": steps, "returns": [0.0, 1.0, 2.0], "reached": {}}
        summary |= {"protocol": {"budget": 8_000_000, "steps": 1, "episodes": 20}, "scratch": scratch}
        figure = draw(summary, "paper")
        assert figure.get_figwidth() == 3.25 and len(figure.axes) == 2
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        box, whole = figure.get_tightbbox(renderer), figure.bbox_inches
        assert box.x0 >= whole.x0 and box.y0 >= whole.y0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
        for axis in figure.axes:
            shown = [label.get_window_extent(renderer) for label in axis.get_xticklabels() if label.get_text()]
            inside = [box for box in shown if axis.bbox.x0 <= (box.x0 + box.x1) / 2 <= axis.bbox.x1]
            assert len(inside) > 1 and all(left.x1 < right.x0 for left, right in pairwise(inside))


@pytest.mark.parametrize("preset", ["sparse-navigation", "ant-goal"])
def test_baselines_of_every_kind_of_preset(preset, tmp_path):
    """One whose method has a memory, and one whose method learns step sizes."""
    config = dataclasses.replace(PRESETS[preset], horizon=5, tasks=2, episodes=2)
    summary = benchmark(config, ["random", "pretrained", "oracle"], 1, TINY, tmp_path)
    assert np.isfinite([row["mean"] for row in summary["methods"].values()]).all()


def test_a_benchmark_runs_once_and_writes_all(tmp_path):
    methods = ["maml", "reptile", "random", "oracle"]
    said = []
    summary = benchmark(SMALL, methods, 2, TINY, tmp_path, said.append)
    assert len(said) == 8
    assert list(summary["methods"]) == methods
    assert summary["methods"]["maml"]["env_steps"] >= TINY.budget
    assert summary["methods"]["random"]["env_steps"] == 0
    assert {"results.json", "results.csv", "curves.png"} <= {path.name for path in tmp_path.iterdir()}
    header, *rows = csv.reader((tmp_path / "results.csv").read_text().splitlines())
    assert header == ["method", "step", "mean", "ci_low", "ci_high", "episodes_per_step"]
    assert {row[0]: row[5] for row in rows} == {"maml": "2", "reptile": "2", "random": "2", "oracle": ""}
    tasks = [json.loads((tmp_path / f"{name}-seed1" / "result.json").read_text())["tasks"] for name in methods]
    assert np.shape(tasks[0]) == (3, 2) and all(others == tasks[0] for others in tasks)
    again = benchmark(SMALL, methods, 2, TINY, tmp_path, said.append)
    assert len(said) == 8 and again == json.loads((tmp_path / "results.json").read_text())

    (tmp_path / "maml-seed1" / "result.json").unlink()  # as if it had been interrupted before the evaluation
    third = benchmark(SMALL, methods, 2, TINY, tmp_path, said.append)
    assert said[8:] == ["maml, seed 1: 300 environment steps"]
    assert third["methods"]["maml"]["mean"] == summary["methods"]["maml"]["mean"]
    file = tmp_path / "maml-seed1" / "result.json"
    found = json.loads(file.read_text())
    del found["config"]["film"]  # made before there was this setting, which changes no result
    file.write_text(json.dumps(found))
    benchmark(SMALL, methods, 2, TINY, tmp_path, said.append)
    assert len(said) == 9
    with pytest.raises(UserError, match=r"other settings .* \(discount: 0.99 -> 0.9, horizon: 8 -> 9\);"):
        benchmark(dataclasses.replace(SMALL, discount=0.9, horizon=9), methods, 2, TINY, tmp_path, said.append)
    with pytest.raises(UserError, match=r"another protocol \(budget: 300 -> 400\); choose another --out$"):
        benchmark(SMALL, methods, 2, dataclasses.replace(TINY, budget=400), tmp_path, said.append)
    more = dataclasses.replace(TINY, tasks=4)
    with pytest.raises(UserError, match=r"\(tasks: 3 -> 4\); choose another --out, or remove the files result.json to"):
        benchmark(SMALL, methods, 2, more, tmp_path, said.append)
    for file in tmp_path.glob("maml-seed*/result.json"):
        file.unlink()
    trained = [checkpoint.read_bytes() for checkpoint in sorted(tmp_path.glob("maml-seed*/checkpoints/*"))]
    fourth = benchmark(SMALL, ["maml"], 2, more, tmp_path, said.append)
    assert fourth["methods"]["maml"]["env_steps"] == summary["methods"]["maml"]["env_steps"]
    assert trained == [checkpoint.read_bytes() for checkpoint in sorted(tmp_path.glob("maml-seed*/checkpoints/*"))]


def test_the_table_says_what_a_step_is_the_intervals_and_where_scratch_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    preset = tmp_path / "small.json"
    preset.write_text(json.dumps({"preset": "point-navigation", "tasks": 2, "episodes": 2, "horizon": 6}))
    options = ["--seeds", "2", "--budget", "60", "--steps", "1", "--tasks", "3", "--episodes", "4", "--out", "out"]
    arguments = ["benchmark", str(preset), *options, "--methods", "maml,rl2,scratch"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "results.json").read_text())
    assert summary["protocol"] | {"steps": 1, "tasks": 3, "episodes": 4} == summary["protocol"]
    maml = summary["methods"]["maml"]
    assert max(abs(mean) for row in summary["methods"].values() for mean in row["mean"]) < 10
    step = f"{maml['mean'][1]:.2f} ±{(maml['ci_high'][1] - maml['ci_low'][1]) / 2:.2f}"
    row = next(line for line in said.splitlines() if "│ maml" in line)
    assert [cell.strip() for cell in row.split("│")][2:6:2] == ["4", step] and "seconds" in said
    assert "±" in row and "half of their 95 % intervals over the seeds" in said
    assert "│ rl2    │ 1 " in said and "│ scratch" not in said
    assert "scratch, PPO on 2 tasks one by one, adapts to none: it is in curves.png and results.json" in said

    monkeypatch.setenv("COLUMNS", "80")
    assert main([*arguments, "--style", "paper"]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "out" / "curves.pdf").read_bytes().startswith(b"%PDF") and "curves.pdf" in said
    assert "…" not in said and "episodes" in said and max(map(len, said.splitlines()[:8])) <= 80


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_narrow_terminal_has_a_line_for_each_step_and_breaks_no_number(steps):
    mean = [-312.2 * (k + 1) for k in range(steps + 1)]
    row = {"mean": mean, "ci_low": [x - 11.2 for x in mean], "ci_high": [x + 11.2 for x in mean], "gain_step1": -312.2}
    row |= {"seconds": 400, "episodes_per_step": 10, "env_steps": 2_000_000}
    summary = {"protocol": {"steps": steps}, "methods": {"promp": row, "half-cheetah.MAML2": row}}
    for width in (80, 200):
        console = Console(width=width, file=io.StringIO())
        console.print(results_table(summary, console))
        lines = console.file.getvalue().splitlines()
        assert max(map(len, lines)) <= width and lines[0].startswith("┏")
        for x in mean:
            assert sum(f" {x:.1f} ±11.2 " in line for line in lines) == 2
        assert sum("±" in line for line in lines) == (2 if width == 200 else 2 * len(mean))
        assert sum(" half-cheetah.MAML2 " in line and " 2,000,000 " in line for line in lines) == 1


def test_classes_of_one_name_are_told_apart_by_their_modules():
    assert labels(["maml", "a:MAML2", "b:Other"]) == ["maml", "MAML2", "Other"]
    assert labels(["a:MAML2", "b.c:MAML2", "b:Other"]) == ["a.MAML2", "b.c.MAML2", "Other"]
    assert labels(["maml", "a:maml"]) == ["maml", "a.maml"]


def test_ppo_models_are_trained_once(tmp_path, monkeypatch):
    methods = ["pretrained", "oracle"]
    first = benchmark(SMALL, methods, 1, TINY, tmp_path, list)
    for method in methods:  # as if it had been interrupted between training and evaluation
        (tmp_path / f"{method}-seed0" / "result.json").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(baselines, "train_baseline", None)
        assert benchmark(SMALL, methods, 1, TINY, tmp_path, list)["methods"] == first["methods"]
    (tmp_path / "oracle-seed0" / "result.json").unlink()
    file = tmp_path / "oracle-seed0" / "ppo.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    again = benchmark(SMALL, methods, 1, TINY, tmp_path, list)["methods"]["oracle"]
    assert again["mean"] == first["methods"]["oracle"]["mean"]


def test_ppo_from_scratch_learns_its_task_and_is_compared_with_what_one_step_reaches(tmp_path):
    config = dataclasses.replace(SMALL, episodes=20, horizon=20)
    summary = benchmark(config, ["random", "scratch"], 1, dataclasses.replace(TINY, budget=8000), tmp_path, list)
    assert list(summary["methods"]) == ["random"]
    scratch = summary["scratch"]
    assert len(scratch["tasks"]) == 2 and scratch["env_steps"][0] == 400 and scratch["env_steps"][-1] == 4000
    assert scratch["returns"][-1] > scratch["returns"][0]
    per_task = json.loads((tmp_path / "random-seed0" / "result.json").read_text())["per_task"]
    assert scratch["reached"]["random"] == pytest.approx(np.mean([row[1] for row in per_task[:2]]))


def test_the_steps_that_scratch_needs():
    scratch = [{"tasks": [[0.0]], "curves": [{"env_steps": [10, 20, 30], "returns": [-9.0, -5.0, -2.0]}]}]
    others = {"maml": [{"per_task": [[-8.0, -5.0]]}], "oracle": [{"per_task": [[0.0, 0.0]]}]}
    assert compare_scratch(scratch, others)["steps_needed"] == {"maml": 20, "oracle": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs a preset"),
        (["point-nav"], "did you mean 'point-navigation'?"),
        (["point-navigation", "--methods", "maml,mamml"], "unknown method 'mamml'; did you mean 'maml'?"),
        (["point-navigation", "--budget", "0"], "budget must be at least 1"),
        (["point-navigation", "--tasks", "0"], "tasks must be at least 1, got 0"),
        (["point-navigation", "--seed", "1"], "unknown option '--seed'; did you mean '--seeds'?"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, capsys):
    assert main(["benchmark", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.parametrize(("run", "method"), [({}, "rl2"), ({"unit": "episodes seen"}, "OwnMemory")])
def test_a_result_tells_whether_a_memory_adapts(run, method):
    runs = [run | {"per_task": [[0.0, 1.0], [1.0, 2.0]], "train_steps": 10, "seconds": 1.0}]
    assert summarise({method: runs})[method]["remembers"]
    assert not summarise({"maml": [runs[0] | {"unit": "gradient steps"}]})["maml"]["remembers"]


def test_what_ppo_cannot_have_is_refused_before_anything_is_trained(tmp_path):
    config = dataclasses.replace(SMALL, layer_norm=True)
    with pytest.raises(UserError, match="pretrained is a perceptron of PPO's"):
        benchmark(config, ["maml", "pretrained"], 1, TINY, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_into_a_run(tmp_path, capsys):
    sizes = "--tasks 2 --episodes 2 --horizon 5 --iterations 1 --eval-tasks 2 --eval-episodes 2".split()
    assert main(["train", "point-navigation", *sizes, "--log-dir", "run"]) == 0
    before = sorted(tmp_path.glob("run/**/*"))
    capsys.readouterr()
    assert main(["benchmark", "point-navigation", "--methods", "random", "--seeds", "1", "--out", "run"]) == 2
    assert capsys.readouterr().err == "metarl: run holds a run itself; choose another --out\n"
    assert sorted(tmp_path.glob("run/**/*")) == before
