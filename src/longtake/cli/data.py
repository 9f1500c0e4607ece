"""`longtake data`: what a folder of videos holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from longtake.cli.parsing import Command, Flag
from longtake.cli.terminal import progress_bar, say, show
from longtake.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from longtake.data.check import DataReport

# Threads that read files side by side; the decoder works outside the interpreter lock.
NUM_READERS = 4


@dataclass(frozen=True)
class DataCheck(Command):
    """Check a folder of videos: counts, sizes, lengths, classes, and every file that cannot be used."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder of videos, at any depth; a video's class is the folder it lies in."""
    frames: int = 16
    """Frames a video needs to be of use: the span of the recipe you have in mind."""
    headers_only: Flag = False
    """Only look at each file's header; otherwise every frame is decoded."""
    json: Flag = False
    """Print one JSON object instead of tables."""

    def run(self) -> None:
        """Read every video; exit with status 1 if none can be used."""
        from longtake.data.check import check_folder  # loads PyAV
        from longtake.data.config import ClipConfig

        if self.frames < 1:
            raise UserError(f"--frames must be at least 1, not {self.frames}")
        with progress_bar() as progress:
            task = progress.add_task("videos", total=None)
            report = check_folder(
                self.folder,
                ClipConfig(num_frames=self.frames),
                decode=not self.headers_only,
                num_workers=NUM_READERS,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        if self.json:
            say(json.dumps(report.to_json(), indent=2))
        else:
            show_report(report)
        if report.num_usable == 0:
            raise SystemExit(1)


def show_report(report: DataReport) -> None:
    """Print the report as tables."""
    from rich.table import Table
    from rich.text import Text

    facts = Table(title=Text(report.root), title_justify="left", show_header=False)
    facts.add_row("videos", f"{report.num_videos}, {report.num_usable} usable for clips of {report.clip_span} frames")
    facts.add_row("frames", f"{report.num_frames} ({report.seconds:.1f} s)")
    facts.add_row("sizes", counts(report.sizes))
    facts.add_row("frames per second", counts(report.frame_rates))
    facts.add_row("lengths in frames", counts(report.lengths))
    facts.add_row("with caption", str(report.num_captions))
    facts.add_row("with sound", str(report.num_audio))
    show(facts)
    if report.classes:
        classes = Table("class", "videos")
        for name, count in report.classes.items():
            classes.add_row(Text(name), str(count))
        show(classes)
    for title, files in (
        ("left out: cannot be read", report.unreadable),
        ("left out: too short", report.too_short),
        ("used, but suspicious", report.suspicious),
    ):
        if files:
            table = Table("file", "reason", title=title, title_justify="left")
            for path, reason in files.items():
                table.add_row(Text(path), Text(reason))
            show(table)


def counts(values: Mapping[str, int]) -> str:
    """Return "64x64 (10), 32x32 (2)", or "none"."""
    return ", ".join(f"{name} ({count})" for name, count in values.items()) or "none"
