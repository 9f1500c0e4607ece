"""Command line arguments -> a dataclass, and every mistake in them -> one line (tyro itself prints boxes)."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self, TypeVar

import tyro

from longtake.core.errors import UserError

T = TypeVar("T")

# Nested optional settings stay what the default makes them: tyro would turn each into a subcommand.
CONFIG = (tyro.conf.AvoidSubcommands,)

WIDE_TERMINAL = {"COLUMNS": "2000"}

# How tyro says that a value has the wrong type; the second form leaves the right type to the help text below it.
WRONG_TYPE = (
    re.compile(r"(?P<name>.+?): no type matching (?P<kind>.+?) could be instantiated from \[(?P<value>.*?)\]"),
    re.compile(r"(?P<name>.+?): (?:could not convert string to float|invalid literal for int\(\).*?): (?P<value>.+)$"),
)

# Options that may be left out: their own text says what happens then.
OptionalInt = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
OptionalFloat = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")]


class Command:
    """One command: a frozen dataclass whose fields are its options and whose docstring is its help."""

    shares_work: ClassVar[bool] = False
    """Whether several processes of a `torchrun` work together on it; otherwise each would do all of it."""

    @classmethod
    def parse(cls, arguments: Sequence[str], prog: str) -> Self:
        """Read the arguments after the command's name; raises `UserError` for any mistake in them."""
        return parse(cls, arguments, prog)

    def run(self) -> None:
        """Do it."""
        raise NotImplementedError


def parse(kind: type[T], arguments: Sequence[str], prog: str, description: str | None = None) -> T:
    """Fill the dataclass `kind` from `arguments`; dashes and underscores in option names are the same.

    `--help` prints and raises `SystemExit(0)`. Raises `UserError` with one line for an unknown option (naming the
    nearest), an ill-typed value or a missing option.
    """
    if wants_help(arguments):
        tyro.cli(kind, args=["--help"], prog=prog, description=description, config=CONFIG)
    try:
        with captured() as complaint:
            value, unknown = tyro.cli(
                kind, args=arguments, prog=prog, description=description, config=CONFIG, return_unknown_args=True
            )
    except SystemExit as stop:
        raise UserError(one_line(complaint[0])) from stop
    if unknown:
        raise UserError(describe_unknown(unknown, option_names(kind)))
    return value


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether the user asks for help, wherever the flag stands."""
    return bool({"-h", "--help"}.intersection(arguments))


def option_names(kind: type) -> list[str]:
    """Return every option of the dataclass `kind` as its own help text spells it."""
    with captured() as text, contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], config=CONFIG)
    # Options stand at the left of their box, and several boxes may stand side by side.
    cells = re.findall(r"│ (?:-\w, )?(--[\w.-]+(?:, --[\w.-]+)*)", text[0])
    return [name for cell in cells for name in cell.split(", ")]


def describe_unknown(tokens: Sequence[str], known: Sequence[str]) -> str:
    """Say which argument is not understood and which option it resembles most."""
    first = next((token for token in tokens if token.startswith("-")), None)
    if first is None:
        hint = " (a flag takes no value: --x or --no-x)" if tokens[0].lower() in {"true", "false"} else ""
        return f"unexpected argument {tokens[0]!r}{hint}"
    given = first.split("=")[0]
    name = given.replace("_", "-")
    # --autoencoder.lr means --autoencoder.optimizer.lr, though --autoencoder.seed has more letters in common.
    namesakes = [option for option in known if option.strip("-").split(".")[-1] == name.strip("-").split(".")[-1]]
    nearest = difflib.get_close_matches(name, namesakes or known, n=1, cutoff=0.6)
    return f"unknown option {given!r}" + (f"; did you mean {nearest[0]}?" if nearest else "")


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
    """Collect all that tyro prints in one text (the list's only item, there at the end).

    Its form depends on the terminal; here it always believes in one that is very wide, plain and UTF-8.
    """
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    text: list[str] = []
    before = {name: os.environ.get(name) for name in WIDE_TERMINAL}
    os.environ.update(WIDE_TERMINAL)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            yield text
    finally:
        output.seek(0)
        text.append(output.read())
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def sections(text: str) -> Iterator[list[str]]:
    """Yield the parts of tyro's boxed text (between its horizontal rules), as rows without the frame."""
    rows: list[str] = []
    for line in [*text.splitlines(), "╰"]:
        row = line.removeprefix("│ ").removesuffix("│").rstrip()
        if row.startswith(("─", "╭", "╰")):
            if rows:
                yield rows
            rows = []
        elif row:
            rows.append(row)


def one_line(text: str) -> str:
    """Reduce tyro's boxed complaint to one line: what is wrong with which option."""
    found = list(sections(text))
    if not found:
        return "cannot understand the arguments"
    message, *more = found
    if message[0].startswith("Missing from"):
        # Indented once: the option; indented twice: its help.
        names = [row.strip() for row in message if re.match(r" {4}\S", row)]
        return f"missing {' and '.join(names)}"
    line = " ".join(row.strip() for row in message).removeprefix("Error parsing ")
    for wrong_type in WRONG_TYPE:
        if match := wrong_type.match(line):
            name, value = match["name"], match["value"]
            kind = match.groupdict().get("kind") or more[0][1].strip().removeprefix(name).strip()
            return f"{name} takes {kind.removeprefix('{None}|')}, not {value}"
    return line[:1].lower() + line[1:]
