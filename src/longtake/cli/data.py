"""`longtake data check`: what a folder of videos holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from longtake.cli.parsing import Command, Flag, OptionalFloat, OptionalInt
from longtake.cli.terminal import progress_bar, say, show
from longtake.core.errors import UserError
from longtake.core.processors import num_processors
from longtake.core.wording import counted

if TYPE_CHECKING:
    from rich.table import Table

    from longtake.data.check import DataReport

HEADER_SECONDS, DECODE_SECONDS = 60.0, 600.0  # for one file
BAR_WIDTH = 40
MAX_SHORT_ROWS = 20


@dataclass(frozen=True)
class DataCheck(Command):
    """Check a folder of videos: counts, sizes, lengths, classes, and every file that cannot be used."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder of videos, at any depth; a video's class is the folder it lies in."""
    frames: int = 16
    """Frames a video needs to be of use: the span of the recipe you have in mind."""
    decode: Flag = False
    """Decode every frame of every video, as training would; otherwise headers and packets are read, which is quick."""
    workers: OptionalInt = None
    """Processes that read files side by side (default: one per processor)."""
    time_limit: OptionalFloat = None
    """Seconds after which a file is given up, and listed (default: 60, with --decode 600)."""
    json: Flag = False
    """Print one JSON object instead of tables."""

    def run(self) -> None:
        """Look at every video; exit with status 1 if none can be used."""
        from longtake.data.check import check_folder  # loads PyAV
        from longtake.data.config import ClipConfig

        for option, value in (("--frames", self.frames), ("--workers", self.workers)):
            if value is not None and value < 1:
                raise UserError(f"{option} must be at least 1, not {value}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UserError(f"--time-limit must be above 0, not {self.time_limit:g}")
        with progress_bar() as progress:
            task = progress.add_task("videos", total=None)
            report = check_folder(
                self.folder,
                ClipConfig(num_frames=self.frames),
                decode=self.decode,
                num_workers=self.workers or num_processors(),
                time_limit=self.time_limit or (DECODE_SECONDS if self.decode else HEADER_SECONDS),
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        if self.json:
            say(json.dumps(report.to_json(), indent=2))
        else:
            show_report(report)
        if report.problem is not None:
            raise SystemExit(1)


def show_report(report: DataReport) -> None:
    """Print the report as tables."""
    from rich.table import Table
    from rich.text import Text

    facts = Table(title=Text(report.root), title_justify="left", show_header=False)
    facts.add_row(
        "videos", f"{report.num_videos}, {report.num_usable} usable for clips of {counted(report.clip_span, 'frame')}"
    )
    facts.add_row("frames", f"{report.num_frames} ({report.seconds:.1f} s)")
    facts.add_row("sizes", counts(report.sizes))
    facts.add_row("frames per second", counts(report.frame_rates))
    facts.add_row("codecs", counts(report.codecs))
    facts.add_row("with caption", str(report.num_captions))
    facts.add_row("with sound", str(report.num_audio))
    if report.passed_over:
        facts.add_row("other files", f"{counts(report.passed_over)}: not read")
    show(facts)
    if report.lengths:
        show(histogram(report.lengths))
        show(Text(f"videos that a clip of N frames fits into: {counts(report.fitting)}"))
    if report.classes:
        classes = Table("class", "videos")
        for name, count in report.classes.items():
            classes.add_row(Text(name), str(count))
        show(classes)
    for title, files in (
        ("left out: cannot be read", report.unreadable),
        ("left out: too short", report.too_short),
        ("readable, but suspicious", report.suspicious),
    ):
        if files:
            table = Table("file", "reason", title=title, title_justify="left")
            # files to be looked at are all shown; that a thousand are too short is one finding
            shown = list(files.items())[: MAX_SHORT_ROWS if files is report.too_short else None]
            for path, reason in shown:
                table.add_row(Text(path), Text(reason))
            if len(shown) < len(files):
                table.add_row("", f"and {len(files) - len(shown)} more (--json names them all)")
            show(table)
    if report.problem is not None:
        show(Text(report.problem))


def histogram(lengths: Mapping[str, int]) -> Table:
    """Return a table with a bar for each range of lengths, the longest `BAR_WIDTH` characters long."""
    from rich.table import Table

    table = Table("frames", "videos", "")
    most = max(lengths.values())
    for name, count in lengths.items():
        # rounded up: a range that holds a video shows it
        table.add_row(name, str(count), "#" * -(-BAR_WIDTH * count // most))
    return table


def counts(values: Mapping[str, int]) -> str:
    """Return "64x64 (10), 32x32 (2)", or "none"."""
    return ", ".join(f"{name} ({count})" for name, count in values.items()) or "none"
