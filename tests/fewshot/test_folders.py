"""Pictures of a user's folder: their size and colour, which classes are in which set, and what is said of mistakes."""

import dataclasses
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metarl
from metarl import seeding
from metarl.cli import main
from metarl.experiment import memory
from metarl.experiment.config_file import as_dict, from_dict
from metarl.experiment.few_shot_config import FewShotConfig
from metarl.experiment.presets import PRESETS
from metarl.fewshot.folders import find_pictures, read_folder, read_picture
from metarl.seeding import VALIDATION, draw_tasks

RED = (200, 40, 10)


def save(path, pixels, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path, **how)


def plain(colour, side=12):
    return np.broadcast_to(np.asarray(colour), (side, side, len(colour)))


def write_colours(root, classes=25, each=6, ending="png", first=0):
    """A folder whose classes are colours, with a little noise."""
    rng = np.random.default_rng(first)
    for c in range(first, first + classes):
        colour = rng.uniform(0, 255, 3)
        for i in range(each):
            noise = rng.normal(colour, 15, (12, 12, 3)).clip(0, 255)
            save(root / f"class{c:02}" / f"{i}.{ending}", noise)
    return root


def write_greys(root, classes, each=6):
    for c in range(classes):
        for i in range(each):
            save(root / f"class{c:02}" / f"{i}.png", np.full((8, 8), 10 * c + i))
    return root


@pytest.mark.parametrize(("side", "colour"), [(28, False), (9, True), (84, True), (40, False)])
def test_size_and_colour(side, colour, tmp_path):
    save(tmp_path / "red.png", np.broadcast_to(RED, (30, 50, 3)))
    pixels, lost = read_picture(tmp_path / "red.png", side, colour)
    assert pixels.shape == (3 if colour else 1, side, side) and lost is not colour
    grey = np.asarray(Image.new("RGB", (1, 1), RED).convert("L"))
    assert (pixels.reshape(len(pixels), -1) == (np.array(RED)[:, None] if colour else 255 - grey)).all()


def test_grey_pictures_become_negatives_and_transparent_ones_lie_on_white(tmp_path):
    save(tmp_path / "ink.png", np.full((8, 8), 30))
    assert (read_picture(tmp_path / "ink.png")[0] == 225).all()
    save(tmp_path / "clear.png", plain((9, 9, 9, 0)))
    assert (read_picture(tmp_path / "clear.png", 5)[0] == 0).all()
    assert (read_picture(tmp_path / "clear.png", 5, colour=True)[0] == 255).all()
    save(tmp_path / "saved-as-colour.jpg", np.random.default_rng(0).integers(0, 255, (9, 9, 1)).repeat(3, -1))
    assert not read_picture(tmp_path / "saved-as-colour.jpg")[1]  # no colour is lost


def test_png_and_jpeg_of_any_spelling_are_read(tmp_path):
    for name in ("a.png", "b.jpg", "c.jpeg", "d.JPG", "e.PNG"):
        save(tmp_path / "deep" / "class" / name, plain(RED))
    for number in range(5):
        save(tmp_path / f"other{number}" / "1.png", plain(RED))
    found = find_pictures(str(tmp_path))
    learnt, held_out = read_folder(found, 16, True)
    assert learnt.names == ("deep/class", "other0", "other1", "other2", "other4") and held_out.names == ("other3",)
    assert learnt.counts.tolist() == [5, 1, 1, 1, 1] and learnt.pixels.shape == (9, 3, 16, 16)
    assert np.abs(learnt.pixels.astype(int) - np.array(RED)[:, None, None]).max() <= 3  # what JPEG changes


def test_one_line_warns_of_what_is_left_out(tmp_path):
    write_colours(tmp_path / "imgs", classes=5, each=2)
    (tmp_path / "imgs" / "class00" / "notes.txt").write_text("x")
    (tmp_path / "imgs" / "class00" / ".DS_Store").write_text("x")
    save(tmp_path / "imgs" / "class01" / "._1.png", plain(RED))
    save(tmp_path / "imgs" / "above.png", plain(RED))
    save(tmp_path / "imgs" / "class02" / "x.gif", plain(RED))
    with pytest.warns(UserWarning) as told:
        read_folder(find_pictures(str(tmp_path / "imgs")))
    (line,) = [str(one.message) for one in told]
    assert f"class's folder: 3 ({str(tmp_path / 'imgs' / 'above.png')!r})" in line and "\n" not in line
    assert line.endswith("pictures that lose their colour, which colour=True (--colour) keeps: 10 of 10")
    with warnings.catch_warnings(record=True) as told:  # they are read already
        read_folder(find_pictures(str(tmp_path / "imgs")))
    assert not told


def test_links_to_classes_are_followed_but_not_in_circles(tmp_path):
    write_greys(tmp_path / "all", 5)
    (tmp_path / "imgs").mkdir()
    for name in os.listdir(tmp_path / "all"):
        os.symlink(tmp_path / "all" / name, tmp_path / "imgs" / name)
    os.symlink(tmp_path / "imgs", tmp_path / "all" / "class00" / "back")
    found = find_pictures(str(tmp_path / "imgs"))
    assert sum(len(part.names) for part in found.sets) == 5 and found.total == 30


def test_without_sets_every_fifth_class_is_held_out(tmp_path):
    write_greys(tmp_path / "imgs", 20)
    model = metarl.FewShot("folder", folder=str(tmp_path / "imgs"), ways=2, filters=2, tasks=2, eval_tasks=2)
    loop = model.trainer.build_inner_loop(held_out=True)
    held = loop.source.pictures.names
    assert held == ("class04", "class09", "class14", "class19")
    drawn = [{held[c] for c in draw_tasks(loop, 30, 0, stream).ravel()} for stream in (VALIDATION, seeding.TEST)]
    assert drawn == [{"class09", "class19"}, {"class04", "class14"}]


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "validation", "test")])
def test_three_folders_are_the_three_sets(names, tmp_path):
    for name, classes, first in zip(names, (3, 2, 4), (0, 3, 5), strict=True):
        write_colours(tmp_path / "imgs" / name, classes, first=first)
    save(tmp_path / "imgs" / "all" / "1.png", plain(RED))  # nobody's
    model = metarl.FewShot("folder", folder=str(tmp_path / "imgs"), colour=True, ways=2, filters=2, tasks=2)
    assert model.trainer.inner_loop.source.pictures.names == ("class00", "class01", "class02")
    loop = model.trainer.build_inner_loop(held_out=True)
    pictures = loop.source.pictures
    assert pictures.names == tuple(f"class{c:02}" for c in range(3, 9)) and len(pictures.pixels) == 36
    drawn = [{pictures.names[c] for c in draw_tasks(loop, 40, 0, stream).ravel()} for stream in (VALIDATION, 3)]
    assert drawn == [{"class03", "class04"}, {f"class{c:02}" for c in range(5, 9)}]


def test_a_class_may_be_called_train_and_the_same_name_twice_is_told(tmp_path):
    for name in ("train", "test", "validation"):
        save(tmp_path / "vehicles" / name / "1.png", plain(RED))
        save(tmp_path / "same" / name / "cat" / "1.png", np.zeros((4, 4)))
    for name in ("car", "bus"):
        save(tmp_path / "vehicles" / name / "1.png", plain(RED))
    found = find_pictures(str(tmp_path / "vehicles"))
    assert not found.given and [part.kind for part in found.sets] == ["training", "held-out"]
    with pytest.warns(UserWarning, match=r"classes in several sets by their names: 1 \('cat'\)"):
        read_folder(find_pictures(str(tmp_path / "same")))


@pytest.fixture
def imgs():
    """12 classes of 12 pictures; the same as sets; two sets; and sets one of which is too small."""
    write_greys(Path("imgs"), 12, 12)
    for root, sizes in (("sets", (8, 2, 2)), ("two", (8, 0, 2)), ("flat", (3, 3, 3))):
        for name, classes in zip(("train", "val", "test"), sizes, strict=True):
            write_greys(Path(root) / name, classes, 12)
    save(Path("twice/test/a/1.png"), plain(RED))
    for name in ("train", "val", "validation"):
        save(Path("twice") / name / "a" / "1.png", plain(RED))
    Path("others/a").mkdir(parents=True)
    Path("others/a/1.webp").write_text("x")


FOLDER = ["train", "folder-5way-1shot", "--folder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "folder-5way-1shot"], "data folder needs --folder (folder=... in Python), where a folder for each"),
        (["train", "folder", "--folder", "imgs"], "unknown preset 'folder'; did you mean 'folder-5way-1shot'?"),
        (["train", "--data", "folder"], "a preset or an environment first, 'metarl train folder-5way-1shot ...' for"),
        ([*FOLDER, "imgs", "--ways", "3"], "the held-out classes are 2, 3-way tasks need 3 at least; 'imgs' has 12"),
        ([*FOLDER, "imgs", "--ways", "3"], "has 12 classes: 10 training and 2 held-out (every fifth; FOLDER/"),
        ([*FOLDER, "sets", "--ways", "3"], "the validation classes are 2, 3-way tasks need 3 at least; 'sets' has 12"),
        ([*FOLDER, "sets", "--ways", "3"], "has 12 classes: 8 training, 2 validation and 2 test\n"),
        ([*FOLDER, "flat"], "the training classes are 3, 5-way tasks need 5 at least"),
        (
            [*FOLDER, "imgs", "--ways", "2", "--queries", "12"],
            "training classes: 1 shots and 12 queries need 13",
        ),
        (
            [*FOLDER, "imgs", "--ways", "2", "--eval-queries", "12"],
            "class 'class04' has 12 (shots and eval_q",
        ),
        ([*FOLDER, "two"], "'two' holds sets of classes, train, test, but no validation or val; give three, or none"),
        ([*FOLDER, "twice"], "holds sets of classes, train, validation, val, test, but one of these twice"),
        ([*FOLDER, "others"], "'others' holds no pictures, FOLDER/CLASS/*.png or *.jpg; other files there: 1 ("),
        ([*FOLDER, "nowhere"], "'nowhere' is no folder"),
        ([*FOLDER, "imgs", "--side", "0"], "side must be at least 1, got 0"),
        (["train", "glyphs-5way-1shot", "--colour"], "side and colour are for data folder, those of glyphs are fixed"),
        (["train", "omniglot-5way-1shot", "--side", "84"], "those of omniglot are fixed; got side=84, colour=False"),
    ],
)
def test_mistakes_are_one_clear_line(arguments, message, imgs, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_pictures_that_would_not_fit_are_not_read(imgs, monkeypatch, capsys):
    monkeypatch.setattr(memory, "machine_memory", lambda: 100_000_000)
    small = ["--ways", "2", "--tasks", "1", "--eval-tasks", "1", "--eval-queries", "1", "--queries", "1"]
    assert main([*FOLDER, "imgs", "--side", "600", "--colour", *small]) == 2
    said = capsys.readouterr().err
    assert "the 144 pictures of 'imgs' with side=600, colour=True would take at least 0.2 GB" in said


def test_the_estimate_of_memory_knows_side_and_colour():
    small, large = (FewShotConfig(data="folder", ways=5, side=side, colour=side > 28) for side in (28, 56))
    assert large.least_data(10) == 12 * small.least_data(10) == 12 * 5 * 20 * 28**2
    assert large.least_params - small.least_params == 40 * 11 * 28**2
    conv = [dataclasses.replace(config, network="conv").least_params for config in (small, large)]
    assert conv[1] - conv[0] == 9 * 32 * 2


def test_settings_of_an_older_run_are_those_of_before():
    recorded = as_dict(PRESETS["folder-5way-1shot"])
    for name in ("side", "colour"):
        del recorded[name]
    assert from_dict(recorded) == PRESETS["folder-5way-1shot"]


SMALL = {"side": 16, "colour": True, "filters": 8, "tasks": 4, "eval_tasks": 10, "eval_every": 10, "ways": 3}


def test_a_run_tells_colours_apart_and_goes_on(tmp_path, capsys):
    folder = str(write_colours(tmp_path / "imgs", ending="jpg"))
    model = metarl.FewShot("folder", folder=folder, log_dir=tmp_path / "run", **SMALL)
    assert model.config == dataclasses.replace(PRESETS["folder-5way-1shot"], folder=folder, **SMALL)
    model.learn(20)
    curve = metarl.adaptation_curve(model, steps=2, tasks=30)
    assert curve.mean[1] > 0.7 > 0.45 > curve.mean[0]  # by chance a third are right
    model.learn(2)

    again = metarl.load(tmp_path / "run", best=False)
    files = [Path(folder) / f"class{c:02}" / f"{i}.jpg" for c in (4, 9, 14) for i in (0, 1)]
    network = again.adapt(again.read_pictures(files[::2]), [0, 1, 2], steps=3)
    assert network.predict(again.read_pictures(files[1::2])).argmax(1).tolist() == [0, 1, 2]
    with pytest.raises(metarl.UserError, match=r"x must be inputs \[N, 3, 16, 16\], got \[2, 1, 28, 28\]"):
        network.predict(np.zeros((2, 1, 28, 28)))

    assert main(["eval", str(tmp_path / "run"), "--tasks", "5", "--json", str(tmp_path / "curve.json")]) == 0
    assert json.loads((tmp_path / "curve.json").read_text())["mean"][3] > 0.8
    command = ["train", "folder-5way-1shot", "--folder", folder, "--log-dir", str(tmp_path / "run"), "--ways", "3"]
    assert main([*command, "--resume", "--iterations", "24"]) == 0  # side and colour are the run's
    assert main([*command, "--resume", "--iterations", "25", "--side", "20"]) == 2
    said = capsys.readouterr()
    assert "side: 16 -> 20" in said.err and "iteration 24/24" in said.out


def test_an_mlp_and_other_methods_take_colour_pictures(tmp_path):
    folder = str(write_colours(tmp_path / "imgs"))
    for changes in ({"network": "mlp", "hidden": (8,), "filters": 32}, {"method": "reptile"}, {"method": "anil"}):
        model = metarl.FewShot("folder", folder=folder, **{**SMALL, **changes})
        assert np.isfinite(model.trainer.iterate()["meta/accuracy_step1"])
    assert model.config.method.inner_lr == 0.4


def test_pictures_are_read_as_the_model_has_learned_from(tmp_path):
    folder = write_colours(tmp_path / "imgs")
    model = metarl.FewShot("folder", folder=str(folder), **SMALL)
    pictures = model.trainer.inner_loop.source.pictures
    x = model.read_pictures(folder / "class00" / "0.png")
    assert x.shape == (1, 3, 16, 16) and x.dtype == np.float32
    assert np.array_equal(x[0], pictures.pixels[0].astype(np.float32) / np.float32(255))
    with pytest.raises(metarl.UserError, match="needs files, got none"):
        model.read_pictures([])
    with pytest.raises(metarl.UserError, match=r"'none\.png' is not a regular file"):
        model.read_pictures(["none.png"])
    with pytest.raises(metarl.UserError, match="not for sinusoid"):
        metarl.FewShot("sinusoid", tasks=2).read_pictures(["x.png"])
