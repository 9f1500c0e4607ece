"""Tables whose cells have a value and, in small print below it, what belongs to it; shown as text or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Cell = tuple[str, str]
"""(value, detail); either may be empty."""
NOTHING: Cell = ("", "")


@dataclass(frozen=True)
class Table:
    """Cells under headings.

    Attributes:
        columns: heading and, below it, what its details are.
        rows: a cell per column.
        lines: what is said of the whole table, below it.
    """

    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    lines: Sequence[str] = ()

    def to_markdown(self) -> str:
        """Return it as a table of GitHub's Markdown, details in brackets."""
        rules = ["---", *["--:"] * (len(self.columns) - 1)]
        rows = [[markdown(cell) for cell in row] for row in (self.columns, *self.rows)]
        lines = [f"| {' | '.join(cells)} |" for cells in (rows[0], rules, *rows[1:])]
        return "\n".join(lines + ([""] if self.lines else []) + [f"- {escape(line)}" for line in self.lines]) + "\n"


def markdown(cell: Cell) -> str:
    """Return "value (detail)"."""
    value, detail = cell
    return escape(f"{value} ({detail})" if value and detail else value or detail)


def escape(text: str) -> str:
    """Keep what Markdown would read as a mark of its own: a column, or a link."""
    return "".join(f"\\{letter}" if letter in "|[]*<`\\" else letter for letter in text)


def short(value: float) -> str:
    """Return three significant digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def time_cells(frames: float, seconds: float, cpu_seconds: float) -> list[Cell]:
    """Return the seconds and the frames per second, each by the clock and of the processor."""
    return [(short(seconds), short(cpu_seconds)), (short(frames / seconds), short(frames / cpu_seconds))]


def megabytes(num_bytes: int) -> str:
    """Return "564 MB", of 10^6 bytes."""
    return f"{num_bytes / 1e6:.0f} MB"


def millions(count: int) -> str:
    """Return "11.8 M", or the count itself where it is small."""
    return f"{count / 1e6:.1f} M" if count >= 50_000 else str(count)
