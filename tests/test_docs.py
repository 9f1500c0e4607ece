"""What README and docs print can be typed: every command is one, with options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from longtake.cli.main import parse_command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("src/longtake/*/README.md"))]
PLACEHOLDER = re.compile(r"\b(RECIPE|MODEL)\b")


def commands(text):
    """Command lines of indented blocks, without those that leave a name open."""
    lines = re.findall(r"^    (?:torchrun .* -m )?longtake (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines if not PLACEHOLDER.search(line)]


COMMANDS = sorted({(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page.read_text())})


def test_commands_are_found():
    assert ("README.md", "train glober_small_64 --data my-videos --out runs/mine --resume") in COMMANDS
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_command_parses(page, line):
    parse_command(shlex.split(line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_switches_are_given_without_a_value(page):
    assert re.findall(r"--[\w.-]+ (?:True|False)\b", page.read_text()) == []
