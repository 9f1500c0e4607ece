"""The `longtake` command: parse, call one function, exit.

Nothing here loads torch before the arguments are understood, so that help and mistakes answer at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import longtake
from longtake.cli.bench import Bench
from longtake.cli.compare import Compare
from longtake.cli.convert import Convert
from longtake.cli.data import DataCheck
from longtake.cli.demo import Demo
from longtake.cli.encode import DataEncode
from longtake.cli.evaluate import Evaluate
from longtake.cli.models import Models
from longtake.cli.parsing import Command
from longtake.cli.prepare import DataPrepare
from longtake.cli.recipes import Recipes
from longtake.cli.reconstruct import Reconstruct
from longtake.cli.sample import Sample
from longtake.cli.studio import Studio
from longtake.cli.terminal import num_processes, process_rank, quiet_libraries
from longtake.cli.train import Train
from longtake.core.errors import UserError, choose_one_of
from longtake.training.interrupt import TrainingInterruptedError

COMMANDS: dict[str, type[Command]] = {
    "demo": Demo,
    "models": Models,
    "recipes": Recipes,
    "data check": DataCheck,
    "data prepare": DataPrepare,
    "data encode": DataEncode,
    "train": Train,
    "sample": Sample,
    "reconstruct": Reconstruct,
    "evaluate": Evaluate,
    "compare": Compare,
    "bench": Bench,
    "convert": Convert,
    "studio": Studio,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done, 1: the machine failed us (disk full, no such file), 2: the user's mistake, 130: interrupted.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    quiet_libraries()
    command: Command | None = None
    try:
        command = checked(parse_command(tokens))
        command.run()
        sys.stdout.flush()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except (KeyboardInterrupt, TrainingInterruptedError) as error:
        complain(error, debug, "")
        return 130
    except UserError as error:
        # Every process of a torchrun makes the same mistake in the same arguments; later ones may be one process's own.
        if command is not None or process_rank() == 0:
            complain(error, debug)
        return 2
    except BrokenPipeError:
        # The reader of our output (head, less) has left; keep the interpreter's own flush at exit quiet as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        complain(error, debug)
        return 1
    return 0


def parse_command(tokens: Sequence[str]) -> Command:
    """Find the command in the first one or two tokens and let it read the rest.

    Prints and raises `SystemExit(0)` for help and version; raises `UserError` for any mistake.
    """
    if not tokens or tokens[0] in {"-h", "--help"}:
        print(help_text())
        raise SystemExit(0)
    if tokens[0] == "--version":
        print(f"longtake {longtake.__version__}")
        raise SystemExit(0)
    for length in (2, 1):
        name = " ".join(tokens[:length])
        if name in COMMANDS:
            return COMMANDS[name].parse(tokens[length:], f"longtake {name}")
    if members := [name for name in COMMANDS if name.startswith(f"{tokens[0]} ")]:
        if len(tokens) == 1 or tokens[1] in {"-h", "--help"}:
            print(help_text(members))
            raise SystemExit(0)
        choose_one_of("command", " ".join(tokens[:2]), members)
    choose_one_of("command", tokens[0], COMMANDS)
    raise AssertionError(f"{tokens[0]} is a command, but was not found")


def checked(command: Command) -> Command:
    """Return the command; raises `UserError` if it is started in several processes that all would do the same."""
    if num_processes() > 1 and not command.shares_work:
        raise UserError("this command works in one process: start it without torchrun")
    return command


def help_text(names: Sequence[str] = tuple(COMMANDS)) -> str:
    """Return usage and one line per command."""
    width = max(len(name) for name in names)
    rows = [f"  {name:<{width}}  {(COMMANDS[name].__doc__ or '').splitlines()[0]}" for name in names]
    return "\n".join(
        [
            "usage: longtake COMMAND [OPTIONS]",
            "",
            "Long video generation: train a generator on a folder of videos, and sample videos from it.",
            "",
            *rows,
            "",
            "longtake COMMAND --help shows a command's options; --debug shows where an error comes from;",
            "longtake --version prints the version.",
        ]
    )


def complain(error: BaseException, debug: bool, kind: str = "error: ") -> None:
    """Print the error as one line on stderr, after its traceback when debugging."""
    if debug:
        traceback.print_exception(error)
    rank = process_rank()
    message = " ".join(str(error).split()) or "interrupted"
    print(f"longtake: {f'process {rank}: ' if rank else ''}{kind}{message}", file=sys.stderr)
