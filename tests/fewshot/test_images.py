"""Pictures of letters and of folders: disjoint classes and examples, the conv network, and clear errors."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import batch_loss as batch_loss_of
from tiny import finite_difference
from torch.testing import assert_close

import metarl
from metarl import seeding
from metarl.cli import main
from metarl.core import params as P
from metarl.experiment.presets import PRESETS
from metarl.experiment.trainer import Trainer
from metarl.fewshot import glyphs as glyph_module
from metarl.fewshot.folders import find_pictures, read_folder
from metarl.fewshot.glyphs import TEST, TRAIN, glyphs, script
from metarl.fewshot.images import SIDE, Classes, Pictures
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.losses import Classification
from metarl.fewshot.networks import ConvNet
from metarl.fewshot.shots import Examples
from metarl.methods import MAML
from metarl.outer import Adam
from metarl.seeding import TRAINING, VALIDATION, draw_tasks, task_rngs
from metarl.workers.local import Workers
from metarl.workers.objective import WorkersObjective
from metarl.workers.worker import Worker


@pytest.fixture(scope="module", autouse=True)
def few_scripts():
    """Some scripts are enough, and quicker to draw."""
    before = glyph_module.TRAIN, glyph_module.TEST
    glyph_module.TRAIN, glyph_module.TEST = ("GREEK",), ("HEBREW", "LISU")
    glyphs.cache_clear()
    yield
    glyph_module.TRAIN, glyph_module.TEST = before
    glyphs.cache_clear()


def numbered(classes=6, each=5) -> Pictures:
    """Pictures whose pixels tell which they are: 10 times the class plus the number."""
    pixels = np.array([10 * c + i for c in range(classes) for i in range(each)], dtype=np.uint8)
    whole = np.repeat(pixels, SIDE * SIDE).reshape(-1, 1, SIDE, SIDE)
    return Pictures(whole, np.full(classes, each), tuple(map(str, range(classes))))


def drawn(source, seed=0, tasks=8):
    chosen = source.sample_tasks(tasks, np.random.default_rng(seed))
    return chosen, source.draw(chosen, task_rngs(seed, 0, 0, range(tasks))(0))


def test_scripts_to_learn_from_and_held_out_are_disjoint():
    assert not set(TRAIN) & set(TEST)
    train, test = glyphs(False), glyphs(True)
    assert {script(letter) for letter in train.names} == {"GREEK"}
    assert {script(letter) for letter in test.names} == {"HEBREW", "LISU"}
    assert not set(train.names) & set(test.names)


def test_letters_that_look_the_same_are_one_class():
    train, test = glyphs(False), glyphs(True)
    assert "\u0392" in train.names and "\ua4d0" not in test.names  # Lisu's B is a Greek one
    pictures = np.concatenate([train.pixels, test.pixels])
    assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) > 0.995 * len(pictures)
    assert (pictures.reshape(len(pictures), -1).max(1) > 100).all()  # none is empty


def test_letters_are_drawn_the_same_every_time():
    before = glyphs(False).pixels
    glyphs.cache_clear()
    assert np.array_equal(before, glyphs(False).pixels)


def test_examples_are_of_their_classes_and_never_in_both():
    chosen, shots = drawn(Classes(numbered(), ways=4, shots=2, queries=3))
    for task in range(8):
        seen = [(batch.x[task, :, 0, 0, 0] * 255).round().int() for batch in (shots.support, shots.query)]
        assert len(set(seen[0].tolist()) | set(seen[1].tolist())) == 4 * 5
        for numbers, batch in zip(seen, (shots.support, shots.query), strict=True):
            assert (numbers // 10).tolist() == chosen[task][batch.y[task]].tolist()
    assert shots.support.y[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(len(set(task)) == 4 for task in chosen.tolist())


def test_same_seed_same_tasks():
    source = Classes(numbered(), 3, 1, 2)
    (tasks, shots), (again, other) = drawn(source, 5), drawn(source, 5)
    assert np.array_equal(tasks, again) and torch.equal(shots.query.x, other.query.x)
    assert not np.array_equal(tasks, drawn(source, 6)[0])


def test_classes_that_choose_the_best_do_not_judge_it():
    held_out = Classes(numbered(classes=8), ways=3, shots=1, queries=1)
    losses = Classification(ConvNet(3, 2, 0))
    inner_loop = ShotInnerLoop(held_out, losses, MAML(), tasks=50, fresh=False)
    training, validation, test = (
        set(draw_tasks(inner_loop, 50, 0, stream).ravel()) for stream in (TRAINING, VALIDATION, seeding.TEST)
    )
    assert (training, validation, test) == (set(range(8)), {1, 3, 5, 7}, {0, 2, 4, 6})
    few = dataclasses.replace(held_out, ways=5)  # which half of them are too few for
    inner_loop = dataclasses.replace(inner_loop, source=few)
    assert set(draw_tasks(inner_loop, 50, 0, VALIDATION).ravel()) == set(range(8))


def test_classes_may_have_different_numbers_of_pictures():
    pictures = numbered(3, 5)
    keep = np.r_[0:3, 5:10, 10:14]
    source = Classes(Pictures(pictures.pixels[keep], np.array([3, 5, 4]), pictures.names), 3, 1, 2)
    chosen, shots = drawn(source, tasks=30)
    numbers = (shots.query.x[:, :, 0, 0, 0] * 255).round().int().numpy()
    expected = np.take_along_axis(chosen, shots.query.y.numpy(), 1)
    assert np.array_equal(numbers // 10, expected)
    assert (numbers[expected == 0] % 10).max() == 2


def test_turned_pictures_are_classes_of_their_own():
    pixels = np.zeros((2, 1, SIDE, SIDE), dtype=np.uint8)
    pixels[..., 0, 1] = 255
    source = Classes(Pictures(pixels, np.array([2]), ("a",)), 4, 1, 1, rotations=True)
    assert source.total == 4
    tasks = np.arange(4)[None]
    support = source.draw(tasks, task_rngs(0, 0, 0, [0])(0)).support
    for quarter in range(4):
        assert np.array_equal(support.x[0, quarter, 0].numpy() * 255, np.rot90(pixels[0, 0], quarter))


@pytest.fixture
def conv_objective(double):
    method = MAML(inner_lr=0.1, inner_steps=1, outer=Adam())
    rng = np.random.default_rng(0)
    pictures = Pictures(rng.integers(0, 255, (12, 1, SIDE, SIDE), dtype=np.uint8), np.full(4, 3), tuple("abcd"))
    network = ConvNet(2, ways=2, seed=0)
    inner_loop = ShotInnerLoop(Classes(pictures, 2, 1, 2), Classification(network), method, 2, False)
    params = P.params_of(network)
    workers = Workers([Worker(inner_loop, params, seed=0, tasks=2, share=range(2))])
    workers.collect(P.flatten(params.values()), 0)
    return WorkersObjective(workers), P.flatten(params.values())


def test_the_conv_networks_meta_gradient(conv_objective):
    objective, params = conv_objective
    _, gradient = objective.loss_and_gradient(params)
    some = torch.randperm(len(params), generator=torch.Generator().manual_seed(0))[:25]

    def loss(part):
        return objective.loss_and_kl(params.index_copy(0, some, part))[0]

    assert gradient[some].abs().max() > 1e-3
    assert_close(gradient[some], finite_difference(loss, params[some], h=1e-7), rtol=1e-4, atol=1e-6)


def test_batch_norm_does_not_leak_between_tasks(conv_objective):
    objective, params = conv_objective
    batch_loss = batch_loss_of(objective)
    stacked, query = P.stack(P.unflatten(params, batch_loss.like), 2), batch_loss.batch.query
    together = batch_loss.losses.outputs(stacked, query).logits
    alone = batch_loss.losses.outputs(
        P.stack(P.unflatten(params, batch_loss.like), 1), Examples(query.x[:1], query.y[:1])
    ).logits
    assert_close(together[0], alone[0])
    other = Examples(torch.stack([query.x[0], 100 * query.x[1] + 7]), query.y)
    assert_close(batch_loss.losses.outputs(stacked, other).logits[0], alone[0])


def test_a_block_normalises_over_its_own_examples(double):
    network = ConvNet(3, 2, seed=0)
    x = torch.rand(2, 5, 1, 8, 8)
    weight, block = network.blocks[0].weight, network.blocks[0]
    stacked = {name: value.expand(2, *value.shape) for name, value in block.named_parameters()}
    out = torch.func.functional_call(block, stacked, (x,))
    h = torch.nn.functional.conv2d(x[1], weight, stride=2, padding=1)
    centred = h - h.mean((0, 2, 3), keepdim=True)
    assert_close(out[1], (centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()).relu())


def test_the_network_is_strided_convolutions_and_a_mean(double):
    network = ConvNet(3, 4, seed=0)
    x = torch.rand(1, 5, 1, SIDE, SIDE)
    stacked = {name: value[None] for name, value in P.params_of(network).items()}
    h = x[0]
    for block in network.blocks:
        h = torch.nn.functional.conv2d(h, block.weight, stride=2, padding=1)
        h = torch.nn.functional.batch_norm(h, None, None, block.gain, block.shift, training=True).relu()
    assert h.shape == (5, 3, 2, 2)
    assert_close(torch.func.functional_call(network, stacked, (x,))[0], network.head(h.mean((2, 3))))


def write_tree(root, classes=5, each=4, side=40):
    for c in range(classes):
        folder = root / f"class{c}"
        folder.mkdir(parents=True)
        for i in range(each):
            pixels = np.full((side, side), 255, dtype=np.uint8)
            pixels[4 * c : 4 * c + 8, 5 + i : 20] = 0
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def test_any_folder_of_classes(tmp_path):
    root = str(write_tree(tmp_path / "pictures", classes=10))
    train, test = read_folder(find_pictures(root))
    assert len(train.names) == 8 and test.names == ("class4", "class9")
    assert not set(train.names) & set(test.names)
    assert train.pixels.shape == (32, 1, SIDE, SIDE)
    assert train.pixels[0].max() == 255 and train.pixels[0].min() == 0 and train.pixels[0].mean() < 60  # ink is bright


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root, who may read all
    with pytest.raises(metarl.UserError, match="may not be read"):
        find_pictures(str(write_tree(tmp_path / "closed")))


@pytest.mark.parametrize("at", [0, 11, 20, 30, 37])
def test_a_picture_with_a_wrong_byte_is_named(at, tmp_path):
    file = write_tree(tmp_path / "pictures") / "class1" / "3.png"
    content = bytearray(file.read_bytes())
    content[at] ^= 0x5A
    file.write_bytes(content)
    with pytest.raises(metarl.UserError, match=r"class1/3\.png' is damaged"):
        read_folder(find_pictures(str(tmp_path / "pictures")))


def test_omniglots_folders_are_told_apart_and_train(tmp_path, capsys):
    for part in ("images_background", "images_evaluation"):
        write_tree(tmp_path / "omniglot" / part / "Alphabet", classes=3)
    train, test = read_folder(find_pictures(str(tmp_path / "omniglot")))
    assert train.names == test.names == ("Alphabet/class0", "Alphabet/class1", "Alphabet/class2")
    options = "--ways 3 --filters 2 --tasks 2 --iterations 2 --queries 2 --eval-queries 2 --eval-tasks 3".split()
    command = ["train", "omniglot-5way-1shot", "--folder", str(tmp_path / "omniglot"), *options]
    assert main([*command, "--log-dir", str(tmp_path / "run")]) == 0
    assert main(["eval", str(tmp_path / "run"), "--tasks", "2"]) == 0
    assert main(["analyse", str(tmp_path / "run"), "--tasks", "2"]) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out and "1-5" in out and "NIL" in out
    metarl.load(tmp_path / "run").close()


def test_letters_of_other_scripts_are_told_apart_after_a_few_iterations():
    method = MAML(inner_lr=0.4, outer=Adam(outer_lr=0.01))
    small = {"filters": 8, "ways": 3, "tasks": 4, "queries": 3, "eval_tasks": 20, "eval_steps": 1}
    trainer = Trainer(dataclasses.replace(PRESETS["glyphs-5way-1shot"], method=method, **small))
    for _ in range(15):
        trainer.iterate()
    before, after = trainer.evaluate().mean
    assert after > max(before, 1 / 3) + 0.05


def test_an_mlp_takes_pictures_too():
    small = {"network": "mlp", "hidden": (16,), "tasks": 2, "eval_tasks": 3, "eval_steps": 1}
    trainer = Trainer(dataclasses.replace(PRESETS["glyphs-5way-1shot"], **small))
    trainer.iterate()
    assert trainer.evaluate().measure == "accuracy"


def test_nil_finds_the_nearest_support_features():
    from metarl.report.nil import nearest

    support = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 3.1]]])
    query = torch.tensor([[[5.0, 0.1], [0.1, 0.1], [0.0, -1.0], [0.0, 0.5]]])
    assert nearest(support, torch.tensor([[0, 1, 2]]), query).tolist() == [[0, 2, 0, 1]]


TRAIN_GLYPHS = ["train", "glyphs-5way-1shot"]
TRAIN_FOLDER = ["train", "glyphs-5way-1shot", "--data", "folder", "--folder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*TRAIN_GLYPHS, "--ways", "5000"], "5000-way tasks need 5000 at least"),
        ([*TRAIN_GLYPHS, "--queries", "20"], "need 21 pictures of each class"),
        ([*TRAIN_GLYPHS, "--ways", "1"], "ways must be at least 2, got 1"),
        ([*TRAIN_GLYPHS, "--oracle"], "the oracle is for the sinusoid only"),
        ([*TRAIN_GLYPHS, "--folder", "x"], "the others have none; got 'x'"),
        (["train", "sinusoid", "--network", "conv"], "network must be mlp, got 'conv'"),
        (["train", "omniglot-5way-1shot"], "needs --folder"),
        ([*TRAIN_FOLDER, "nowhere"], "'nowhere' is no folder"),
        ([*TRAIN_FOLDER, "."], "holds no pictures, FOLDER/CLASS/*.png"),
        ([*TRAIN_GLYPHS, "--eval-queries", "20"], "held-out classes: 1 shots and 20 queries need 21 pictures of each"),
        ([*TRAIN_FOLDER, "broken"], "picture 'broken/class0/2.png' is damaged"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, tmp_path, capsys):
    if "broken" in arguments:
        file = write_tree(tmp_path / "broken", 25, 11) / "class0" / "2.png"
        file.write_bytes(file.read_bytes()[:60])
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
