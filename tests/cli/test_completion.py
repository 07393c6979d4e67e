"""What bash and zsh complete after `metarl`."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from metarl.cli.completion import bash, options, zsh
from metarl.cli.main import COMMANDS, main

TYPED = {
    "metarl tr": "train",
    "metarl eval --ch": "--checkpoint",
    "metarl eval --checkpoint ": "best last",
    "metarl train half-cheetah-d": "half-cheetah-dir",
    "metarl train metarl/PointN": "metarl/PointNavigation-v0",
    "metarl eval pretrained:ant-d": "ant-dir",  # what is before the colon is another word to bash
    "metarl train mine.toml --method p": "promp ppo-maml",
    "metarl train mine.toml --no-f": "--no-film --no-first-order",
    "metarl plot --x se": "seconds",
    "metarl eval run": "",  # which leaves it to the shell's own files
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(tmp_path):
    (tmp_path / "metarl.bash").write_text(bash())
    asked = [f'COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; _metarl; echo "${{COMPREPLY[*]}}"' for line in TYPED]
    script = "\n".join([f"source {tmp_path}/metarl.bash", *asked, "complete -p metarl"])
    said = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True)
    assert not said.stderr
    assert said.stdout.splitlines() == [*TYPED.values(), "complete -o bashdefault -o default -F _metarl metarl"]


@pytest.mark.parametrize("words", [["eval"], ["tune", "point-navigation"], ["sb3"], ["train", "point-navigation"]])
def test_every_option_of_the_help_is_completed(words, capsys):
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    shown = set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", capsys.readouterr().out))
    assert len(shown) > 5 and shown <= set(options()[words[0]])


def test_the_command_prints_either(capsys):
    assert set(options()) == set(COMMANDS)
    for shell, script in (("bash", bash()), ("zsh", zsh())):
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == script and "@" not in script.replace("${typed[@]}", "").replace("[@]", "")
    assert main(["completion", "fish"]) == 2
    assert "Expected one of ('bash', 'zsh')" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_tab_key_completes(shell, tmp_path):
    """A shell at a terminal, and a key that is pressed."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (tmp_path / "run-of-mine").mkdir()
    (tmp_path / "metarl.bash").write_text(bash())
    (tmp_path / "_metarl").write_text(zsh())
    begin = {
        "bash": (["bash", "--norc", "--noprofile", "-i"], "source metarl.bash"),
        "zsh": (["zsh", "-f", "-i"], "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D"),
    }
    command, setup = begin[shell]
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execvpe(command[0], command, {**os.environ, "PS1": "> ", "TERM": "dumb"})
    try:
        os.write(terminal, f"{setup}; echo rea''dy\n".encode())
        _read_until(terminal, "\nready")
        for typed, whole in (("tr", "train "), ("eval run", "run-of-mine/"), ("eval pretrained:ant-v", "el ")):
            os.write(terminal, f"metarl {typed}\t".encode())
            _read_until(terminal, whole)
            os.write(terminal, b"\x15")  # ^U: away with the line
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def _read_until(terminal, text, seconds=30):
    said, end = "", time.monotonic() + seconds
    while text not in said.replace("\a", ""):
        assert time.monotonic() < end, said
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 4096).decode(errors="replace")
