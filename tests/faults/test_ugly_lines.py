"""What used to end in a traceback is one line that says what to mend."""

import pytest
from processes import SMALL

from metarl.cli.main import main
from metarl.report.run_groups import read_progress

ONE = [*SMALL, "--iterations", "1"]
POINT = "pretrained:point-navigation"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["benchmark", "point-navigation", "--methods", "scratch", "--budget", "1"],
            "budget of 1 steps is too small",
        ),
        (["analyse", POINT, "--seed", "-1"], "seed must be at least 0"),
        ([*ONE, "--seed", str(2**64)], "seed must be at most 2^63 - 1"),
        *(
            ([*ONE, "--env-options", name, "x"], f"cannot set {name}")
            for name in ("id", "make", "self", "vector_kwargs")
        ),
        ([*ONE, "--log-dir", "a" * 300], "File name too long"),
        (
            ["export", POINT, "--steps", "0", "--seed", str(2**32), "--to", "sb3", "x"],
            "2^32 - 1",
        ),
        (["analyse", POINT, "--out", "x.json"], "is where the numbers go"),
        (["eval", POINT, "--json", "nowhere/x.json"], "is no folder"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("metarl: ") and said.count("\n") == 1


def test_paths_are_no_markup(tmp_path, capsys):
    assert main([*ONE, "--log-dir", str(tmp_path / "[lr=0.1]s0[/x]")]) == 0
    assert "[lr=0.1]s0[/x]" in capsys.readouterr().out


def test_the_table_of_an_older_version(tmp_path):
    head = "time/iterations,time/total_timesteps,meta/return_step0,time/sampling_seconds,time/meta_update_seconds\n"
    (tmp_path / "progress.csv").write_text(head + "1,10,-3,0.5,0.25\n2,20,-2,0.5,0.25\n")
    assert read_progress(tmp_path)["time/total_seconds"].tolist() == [0.75, 1.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "", "--iterations", "1"], "unknown preset ''"),
        (["train", "."], "unknown preset '.'"),
        ([*ONE, "--log-dir", ""], "--log-dir: expected None or a path, got ''"),
        (["eval", ""], "got an empty path; this folder is ."),
        (["tune", "sinusoid", "--trials", "1", "--search", "ways=3:5"], "ways=3 is for classification"),
        (["plot", "x", "--out="], "--out: expected None or a path, got ''"),
        (["export", POINT, "--steps", "0", "--to", "sb3", ""], "--to"),
        ([*ONE, "--device", "meta"], "device 'meta' cannot be used"),
        ([*ONE, "--jobs", "2"], "--jobs 2 is for several trainings; give --seeds as well"),
        (["train", "sinusoid", "--ways", "3"], "ways=3 is for classification"),
        (["train", "glyphs-5way-1shot", "--hidden", "8"], "hidden=(8,) is for network mlp, got conv"),
        (["train", "glyphs-5way-1shot", "--network", "mlp", "--filters", "8"], "filters=8 is for network conv"),
        (["tune", "point-navigation", "--storage", "tune.db"], "storage 'tune.db' cannot be used"),
        (["tune", "point-navigation", "--storage", "sqlite:///no/x.db"], "unable to open database file"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_nothing_is_written_and_one_line_said(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("metarl: ") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())
