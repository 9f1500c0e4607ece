"""What the commands show: results on stdout, progress on stderr, nothing from other libraries."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from longtake.benchmarking.table import Table

LONGEST_NAME = 20  # of a row, that is kept on one line where the terminal is narrow


def process_rank() -> int:
    """Return this process's rank as torchrun sets it; 0 when it runs alone."""
    return int(os.environ.get("RANK", "0"))


def num_processes() -> int:
    """Return how many processes torchrun has started; 1 when this one runs alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def say(text: str) -> None:
    """Print one plain line of results; only the first process of a `torchrun` does."""
    if process_rank() == 0:
        print(text, flush=True)


def stdout_console() -> Console:
    """Return stdout, as wide as the terminal, or as wide as any table needs when it is none."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def fits(table: RichTable) -> bool:
    """Whether stdout is wide enough for a table without wrapping any of it."""
    console = stdout_console()
    unbounded = console.options.update(max_width=10 * console.width)
    return console.measure(table, options=unbounded).maximum <= console.width


def show(*renderables: object) -> None:
    """Print rich tables and texts to stdout."""
    if process_rank() == 0:
        stdout_console().print(*renderables, sep="\n")


def show_table(table: Table) -> None:
    """Print a table, the details below the values, and its lines below that."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    longest = max(len(text) for row in table.rows for text in row[0])
    for number, (heading, detail) in enumerate(table.columns):
        shown.add_column(
            Text(heading) + Text(f"\n{detail}", "dim"),
            justify="right" if number else "left",
            overflow="fold",  # where the terminal is narrow everything is still there
            no_wrap=number == 0 and longest <= LONGEST_NAME,
        )
    for row in table.rows:
        shown.add_row(*(Text(value) + Text(f"\n{detail}" if detail else "", "dim") for value, detail in row))
    show(shown, *(Text(f"- {line}") for line in table.lines))


def progress_bar() -> Progress:
    """Return a bar with count and time left on stderr; silent where stderr is no terminal or the rank is not 0."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=process_rank() > 0 or not console.is_terminal,
        transient=True,
    )


@contextmanager
def one_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show one thing after the other in one bar; yields what is called with (what, how much is done, of how much)."""
    with progress_bar() as progress:
        task = progress.add_task("", total=None)

        def update(what: str, done: int, total: int) -> None:
            if progress.tasks[task].description != escape(what):
                progress.reset(task, description=escape(what), total=total)
            progress.update(task, completed=done)

        yield update


def quiet_libraries() -> None:
    """Keep the notices of diffusers, transformers and accelerate out of the output; their errors still show.

    Works before they are imported, so that parsing stays fast.
    """
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for library in ("diffusers", "transformers", "accelerate", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=library)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def __str__(self) -> str:
        seconds = time.perf_counter() - self.started
        return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
