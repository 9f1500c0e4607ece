import os
import subprocess
import sys

import pytest

import longtake as package
from longtake.cli import main as cli
from longtake.core.errors import UserError


def test_bare_command_prints_help(longtake):
    outcome = longtake()
    assert outcome.status == 0
    assert outcome.err == ""
    for name in cli.COMMANDS:
        assert f"  {name} " in outcome.out


def test_group_prints_its_commands(longtake):
    outcome = longtake("data")
    assert outcome.status == 0
    assert "data check" in outcome.out
    assert "reconstruct" not in outcome.out


def test_version(longtake):
    assert longtake("--version").out == f"longtake {package.__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(longtake, name):
    outcome = longtake(*name.split(), "--help")
    assert outcome.status == 0
    assert outcome.out.startswith(f"usage: longtake {name}")


def test_help_and_mistakes_load_no_torch():
    code = """
import sys
from longtake.cli.main import COMMANDS, main
for name in COMMANDS:
    assert main([*name.split(), "--help"]) == 0
assert main([]) == 0
assert main(["train", "nonsense"]) == 2
assert main(["sample", "model", "--out", "x.mp4", "--bogus"]) == 2
heavy = {"torch", "diffusers", "transformers", "accelerate", "av"}
assert not heavy.intersection(sys.modules), heavy.intersection(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_unknown_command_names_the_nearest(longtake):
    assert longtake("smaple").error_line.startswith("unknown command 'smaple'; did you mean 'sample'?")
    assert "did you mean 'data check'?" in longtake("data", "chekc").error_line


def test_debug_shows_where_an_error_comes_from(longtake):
    outcome = longtake("recipes", "--debug", "nonsense")
    assert outcome.status == 2
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("longtake: error: unknown recipe 'nonsense'")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("two\nlines"), 2, "longtake: error: two lines\n"),
        (OSError(28, "No space left on device"), 1, "longtake: error: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt(), 130, "longtake: interrupted\n"),
    ],
)
def test_failures_are_one_line(longtake, monkeypatch, error, status, message):
    def fail(self):
        raise error

    monkeypatch.setattr(cli.Models, "run", fail)
    outcome = longtake("models")
    assert (outcome.status, outcome.err) == (status, message)


def test_a_bug_is_not_hidden(monkeypatch):
    def fail(self):
        raise KeyError("ours")

    monkeypatch.setattr(cli.Models, "run", fail)
    with pytest.raises(KeyError, match="ours"):
        cli.main(["models"])


def test_only_the_first_process_speaks(longtake, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    outcome = longtake("recipes")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    outcome = longtake("recipes", "--bogus")
    assert (outcome.status, outcome.out, outcome.err) == (2, "", "")


def test_a_mistake_that_only_a_later_process_sees_names_it(longtake, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "3")
    outcome = longtake("data", "check", tmp_path / "nowhere")
    assert outcome.status == 2
    assert outcome.err.startswith("longtake: process 3: error: ")


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "longtake", "recipes"]
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert result.stderr == b""
    assert result.returncode == 1


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_processes_that_would_all_do_the_same_are_refused(name, monkeypatch, capsys):
    """Several of one `torchrun` would write the same files at the same time; those that share the work may."""
    ran = []
    command = cli.COMMANDS[name]
    monkeypatch.setattr(cli, "parse_command", lambda _tokens: command.__new__(command))
    monkeypatch.setattr(command, "run", lambda _self: ran.append(name))
    monkeypatch.setenv("WORLD_SIZE", "2")
    shares_work = name in {"train", "evaluate", "compare"}
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        assert cli.main([name]) == (0 if shares_work else 2)
        said = (
            ""
            if shares_work or rank
            else "longtake: error: this command works in one process: start it without torchrun\n"
        )
        assert capsys.readouterr().err == said
    assert len(ran) == (2 if shares_work else 0)
