"""Labelled tasks of the user's own: what they are made into, how they learn, and what is refused."""

import numpy as np
import pytest
import torch

import metarl
from metarl.cli.main import main
from metarl.errors import UserError
from metarl.fewshot.own_source import OwnSource
from metarl.seeding import task_rngs

SMALL = {"tasks": 4, "shots": 3, "queries": 2, "hidden": (8,), "eval_tasks": 4, "eval_queries": 2, "iterations": 2}


class Lines:
    """y = (a x + b, a x - b)."""

    def sample_tasks(self, n, rng):
        return rng.normal(size=(n, 2))

    def examples(self, task, n, rng):
        x = rng.uniform(-1, 1, (n, 1))
        return x, task[0] * x + task[1] * np.array([1.0, -1.0])


class Spots:
    """Classes of pictures with two channels: a spot in a corner of its own, told in a random order."""

    def sample_tasks(self, n, rng, split="train"):
        return np.stack([rng.permutation(4)[:3] + 4 * (split != "train") for _ in range(n)])

    def examples(self, task, n, rng):
        x, y = rng.uniform(0, 0.2, (3 * n, 2, 8, 8)), np.repeat(np.arange(3), n)
        for picture, corner in zip(x, task[y], strict=True):
            picture[corner // 4, 4 * (corner % 4 // 2) + 1, 4 * (corner % 2) + 1] = 1
        order = rng.permutation(3 * n)
        return x[order], y[order]


class Noisy(Lines):
    def __init__(self, scale):
        self.scale = scale


def drawn(source, tasks=5, seed=0):
    rngs = task_rngs(seed, 0, 0, range(tasks))
    return (given := source.sample_tasks(tasks, np.random.default_rng(seed))), source.draw(given, rngs(0))


def test_regression_has_the_first_as_support_and_the_others_as_query():
    source = OwnSource(Lines(), 3, 4, 5)
    tasks, shots = drawn(source)
    assert not source.classifies
    assert shots.support.x.shape == (5, 3, 1) and shots.query.y.shape == (5, 4, 2)
    for examples in (shots.support, shots.query):
        a, b = (torch.from_numpy(tasks[:, i, None]) for i in range(2))
        line = torch.stack([a * examples.x[..., 0] + b, a * examples.x[..., 0] - b], -1)
        torch.testing.assert_close(examples.y, line.float())
    whole = [
        Lines().examples(task, 7, rng)[0] for task, rng in zip(tasks, task_rngs(0, 0, 0, range(5))(0), strict=True)
    ]
    np.testing.assert_array_equal(torch.cat([shots.support.x, shots.query.x], 1), np.float32(whole))


def test_classes_come_one_after_another_with_the_pictures_that_belong_to_them():
    source = OwnSource(Spots(), 2, 3, 3)
    tasks, shots = drawn(source)
    assert source.classifies
    for examples, number in ((shots.support, 2), (shots.query, 3)):
        assert examples.y.tolist() == [[kind for kind in range(3) for _ in range(number)]] * 5
        for task, pictures, classes in zip(tasks, examples.x, examples.y, strict=True):
            for picture, kind in zip(pictures, classes, strict=True):
                assert picture[task[kind] // 4, 4 * (task[kind] % 4 // 2) + 1, 4 * (task[kind] % 2) + 1] == 1


def test_tasks_are_drawn_from_their_set():
    assert drawn(OwnSource(Spots(), 1, 1, 3))[0].max() < 4
    for split in ("validation", "test"):
        assert OwnSource(Spots(), 1, 1, 3).sample_tasks(5, np.random.default_rng(0), split).min() >= 4


def test_a_task_has_the_same_examples_whatever_is_drawn_beside_it():
    tasks, shots = drawn(OwnSource(Lines(), 3, 4, 5))
    part = OwnSource(Lines(), 3, 4, 5).draw(tasks[2:4], task_rngs(0, 0, 0, range(2, 4))(0))
    assert torch.equal(part.query.y, shots.query.y[2:4])


@pytest.mark.parametrize("method", ["maml", "reptile", "cavia"])
def test_lines_are_learned(method):
    how = {"inner_steps": 3} if method != "cavia" else {}
    model = metarl.FewShot(Lines, method=method, tasks=10, hidden=(20, 20), inner_lr=0.1, seed=1, **how)
    before = metarl.adaptation_curve(model, steps=3, tasks=50).mean
    model.learn(iterations=150)
    after = metarl.adaptation_curve(model, steps=3, tasks=50).mean
    assert after[3] < 0.5 * after[0] and after[3] < 0.7 * before[3]


def test_pictures_are_told_apart_by_a_conv_network():
    model = metarl.FewShot(
        Spots(), network="conv", filters=8, ways=3, shots=1, queries=3, tasks=8, inner_lr=0.4, eval_queries=5, seed=0
    )
    model.learn(iterations=60)
    curve = metarl.adaptation_curve(model, steps=1, tasks=30)
    assert curve.mean[1] > curve.mean[0] + 0.2


def test_a_run_is_resumed_and_loaded_with_the_tasks_given_again(tmp_path):
    whole = metarl.FewShot(Lines, log_dir=tmp_path / "whole", **SMALL).learn(iterations=2)
    metarl.FewShot(Lines, log_dir=tmp_path / "parts", **SMALL).learn(iterations=1)
    parts = metarl.FewShot(Lines, log_dir=tmp_path / "parts", resume=True, **SMALL).learn(iterations=1)
    for ours, theirs in zip(parts.trainer.params.values(), whole.trainer.params.values(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(UserError, match=r"has the data .*Lines, .* by data=\.\.\. in Python .*or --import"):
        metarl.load(tmp_path / "whole")
    loaded = metarl.load(tmp_path / "whole", data=Lines)
    x, y = Lines().examples((1.0, 0.0), 5, np.random.default_rng(0))
    assert loaded.adapt(x, y).predict(x).shape == (5, 2)
    whole.save(tmp_path / "model")
    assert metarl.load(tmp_path / "model", data=Lines()).config.data == "test_own_source:Lines"


def test_the_command_line_trains_and_evaluates_them(tmp_path, monkeypatch, capsys):
    (tmp_path / "parabolas.py").write_text(
        "import numpy as np\n"
        "class Parabolas:\n"
        "    def sample_tasks(self, n, rng):\n"
        "        return rng.normal(size=(n, 1))\n"
        "    def examples(self, task, n, rng):\n"
        "        x = rng.normal(size=(n, 1))\n"
        "        return x, task * x**2\n"
    )
    monkeypatch.chdir(tmp_path)
    tiny = "--iterations 1 --tasks 2 --eval-tasks 2 --eval-queries 3".split()
    assert main(["train", "parabolas:Parabolas", *tiny, "--method", "reptile", "--log-dir", "run"]) == 0
    assert main(["train", "parabolas:Parabolas", "--resume", "--iterations", "2", "--log-dir", "run"]) == 0
    assert main(["eval", "run", "--import", "parabolas", "--tasks", "3"]) == 0
    assert "parabolas:Parabolas, 10-shot" in capsys.readouterr().out
    assert main(["eval", "run"]) == 2
    assert "--import parabolas" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_get_the_tasks_too():
    alone = metarl.FewShot(Lines, **SMALL).learn(iterations=2)
    model = metarl.FewShot(Lines, workers=2, **SMALL)
    try:
        model.learn(iterations=2)
        for ours, theirs in zip(model.trainer.params.values(), alone.trainer.params.values(), strict=True):
            assert torch.equal(ours, theirs)
    finally:
        model.close()


def returns(x, y):
    class Odd(Lines):
        def examples(self, task, n, rng):
            return x(n), y(n)

    return Odd


def ones(*shape):
    return lambda n: np.ones([n if size == "n" else size for size in shape])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (int, "class with sample_tasks.*int lacks sample_tasks and examples"),
        (None, "class with sample_tasks.*None lacks sample_tasks and examples"),
        (Noisy, r"Noisy needs arguments \(.*'scale'\); give an object of it"),
        (returns(ones("n", 1), ones("n")), r"targets \[5, o\], or whole numbers as classes; got \[5, 1\] and \[5\]"),
        (returns(ones(3, 1), ones("n", 1)), r"got \[3, 1\] and \[5, 1\]"),
        (returns(ones("n", 1), ones("n", 0)), r"targets of Odd.examples must not be empty, got \[5, 0\]"),
        (returns(lambda n: [["a"]] * n, ones("n", 1)), "inputs of Odd.examples must be numbers, got <U1"),
        (returns(lambda n: [[1], [1, 2]], ones("n", 1)), "inputs of Odd.examples must be numbers in an array"),
        (returns(ones("n", 1), lambda n: np.arange(n)), r"5 inputs of each of 5 classes \(ways\), \[25, ...\]"),
        (returns(ones(25, 1), lambda n: np.arange(25) % 4), "5 of each class from 0 to 4, got 7 of class 0, 6 of"),
        (returns(ones("n", 1), lambda n: np.full((n, 1), np.nan)), r"task \[.*\] are not all finite"),
    ],
)
def test_what_is_wrong_is_said(source, said):
    with pytest.raises(UserError, match=said):
        metarl.FewShot(source, **SMALL).learn(iterations=1)


def test_shapes_that_differ_are_refused():
    class Growing(Lines):
        calls = 0

        def examples(self, task, n, rng):
            self.calls += 1
            return np.ones((n, self.calls)), np.ones((n, 1))

    with pytest.raises(UserError, match=r"Growing.examples: an input and a target of task .*shapes \(\[3\], \[1\]\)"):
        metarl.FewShot(Growing(), **SMALL).learn(iterations=1)


def test_python_takes_the_object_not_its_name():
    with pytest.raises(UserError, match="in Python, give the object: from lines import Lines, then data=Lines"):
        metarl.FewShot("lines:Lines")


def test_conv_networks_are_for_pictures():
    with pytest.raises(UserError, match=r"network conv is for classes of pictures .*; Lines has others"):
        metarl.FewShot(Lines, network="conv", **SMALL | {"hidden": (40, 40)})


def test_a_source_may_use_its_arrays_again():
    class Thrifty(Lines):
        x, y = np.zeros((7, 1)), np.zeros((7, 2))

        def examples(self, task, n, rng):
            self.x[:], self.y[:] = super().examples(task, n, rng)
            return self.x, self.y

    ours, theirs = (drawn(OwnSource(source, 3, 4, 5))[1] for source in (Thrifty(), Lines()))
    assert torch.equal(ours.support.x, theirs.support.x) and torch.equal(ours.query.y, theirs.query.y)


def test_held_out_tasks_are_looked_at_before_a_run(tmp_path):
    class Half(Lines):
        def sample_tasks(self, n, rng, split="train"):
            return np.full((n, 2), np.nan if split == "validation" else 1.0)

        def examples(self, task, n, rng):
            return super().examples(task, n if np.isfinite(task).all() else 1, rng)

    with pytest.raises(UserError, match=r"Half.examples\(task, 5, rng\) must return .*; got \[1, 1\]"):
        metarl.FewShot(Half, log_dir=tmp_path / "run", **SMALL)


def test_a_model_takes_numbers_of_any_kind_and_refuses_other_shapes():
    model = metarl.FewShot(Lines, **SMALL)
    whole, floats = ([[0], [1], [2]], [[1], [2], [3]]), ([[0.0], [1.0], [2.0]], [[1.0], [2.0], [3.0]])
    for x, y in ((whole[0], [[1, 1], [2, 2], [3, 3]]), (torch.tensor(floats[0]), np.ones((3, 2))[::-1])):
        assert model.adapt(x, y).predict([[1]]).shape == (1, 2)
    for x, y, said in (
        (floats[0], floats[1], r"y must be targets \[N, 2\], got \[3, 1\]"),
        ([0.0, 1.0], np.ones((2, 2)), r"x must be inputs \[N, 1\], got \[2\]"),
        (None, None, "x must be numbers, got object"),
    ):
        with pytest.raises(UserError, match=said):
            model.adapt(x, y)
    with pytest.raises(UserError, match=r"x must be inputs \[N, 1\], got \[1, 2\]"):
        model.adapt(*whole[:1], np.ones((3, 2))).predict([[1, 2]])


def test_classes_of_any_kind_are_taken_and_those_out_of_range_refused():
    model = metarl.FewShot(Spots, network="conv", filters=2, ways=3, shots=1, queries=1, eval_queries=1)
    x, y = Spots().examples(np.array([0, 1, 2]), 2, np.random.default_rng(0))
    network = model.adapt((255 * x).astype(np.uint8), y.astype(np.uint8))
    assert network.predict(x).shape == (6, 3)
    with pytest.raises(UserError, match="y must be classes from 0 to 2, got 1 to 3"):
        model.adapt(x, y + 1)
    with pytest.raises(UserError, match=r"y must be classes \[N\], whole numbers; got float64 \[6\]"):
        model.adapt(x, y * 1.0)
    with pytest.raises(UserError, match="needs at least two"):
        network.predict(x[:1])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("parts:Nothing", "as env must make a gymnasium.Env, got Nothing"),
        ("parts:number", "env takes an id, a class or a function that returns an environment, got 3"),
        ("parts:Linez", "'parts' has no 'Linez'; did you mean 'Lines'?"),
        (":Lines", "'' is no module's name"),
        ("./parts.py:Lines", "'./parts.py' is no module's name"),
    ],
)
def test_names_that_are_no_tasks(name, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "parts.py").write_text("class Nothing: pass\nclass Lines: pass\nnumber = 3\n")
    monkeypatch.chdir(tmp_path)
    assert main(["train", name, "--log-dir", "run"]) == 2
    assert said in (told := capsys.readouterr().err) and told.count("\n") == 1


def test_tasks_are_no_environment():
    with pytest.raises(UserError, match=r"must make a gymnasium.Env, got Lines; few-shot tasks are for metarl.FewShot"):
        metarl.MAML(Lines, horizon=5)


def test_a_regression_says_that_it_has_no_ways():
    with pytest.warns(UserWarning, match=r"without effect, as the targets of .*:Lines are no classes: ways=3"):
        metarl.FewShot(Lines, ways=3, **SMALL).close()
    metarl.FewShot(Spots, ways=3, **SMALL).close()  # without a warning, which would be an error
