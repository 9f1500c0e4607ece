"""`longtake data prepare`: a published data set's layout -> a folder of videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from longtake.cli.output import check_can_create_folder
from longtake.cli.parsing import Command, OptionalFloat, OptionalInt, OptionalText
from longtake.cli.terminal import progress_bar, say, show
from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.data.sets.options import DataSetName, PrepareOptions

if TYPE_CHECKING:
    from longtake.data.prepare import Preparation

NUM_SHOWN = 20  # failures printed; all of them are in prepared.json


@dataclass(frozen=True)
class DataPrepare(Command):
    """Turn a published data set into a folder of videos: UCF-101, Sky Time-lapse, TaiChi-HD and others."""

    name: Annotated[DataSetName, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """ucf101, sky-timelapse, taichi-hd, uva-nemo, weizmann, kth, audioset-drum or mugen."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder with the published files, unpacked."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder that gets the videos. Of an interrupted preparation, it goes on with what is missing."""
    split: OptionalText = None
    """How to divide it: ucf101 1, 2 or 3; kth people, prediction or all; weizmann all or the test person's name.
    Default: the first of these; the other sets have one way only."""
    fps: OptionalFloat = None
    """Frames per second of the result: at time k / fps the frame that is shown then. Default: all frames, by number."""
    margin: int = 0
    """Pixels to cut off each edge first."""
    size: OptionalInt = None
    """Height and width: centre square crop and resize, coded anew in high quality. Default: files stay as they are."""
    workers: int = 4
    """Processes that work side by side; 0 works in this one."""

    def run(self) -> None:
        """Prepare every video; exit with status 1 if there is none in the end."""
        options = PrepareOptions(fps=self.fps, margin=self.margin, size=self.size)
        if self.workers < 0:
            raise UserError(f"--workers is {self.workers}; it must be at least 0")
        check_can_create_folder(self.out)
        from longtake.data.prepare import prepare  # loads torch and PyAV

        with progress_bar() as progress:
            task = progress.add_task("videos", total=None)
            result = prepare(
                self.name,
                self.root,
                self.out,
                options,
                split=self.split,
                num_workers=self.workers,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        show_preparation(self.out, result)
        if result.num_prepared == 0:
            raise SystemExit(1)


def show_preparation(out: Path, result: Preparation) -> None:
    """Print what was done and what failed."""
    from rich.table import Table
    from rich.text import Text

    written, skipped = sum(result.written.values()), sum(result.skipped.values())
    say(f"{out}: {written} written, {skipped} skipped (there already), {len(result.failed)} failed")
    for part in sorted(result.written.keys() | result.skipped.keys()):
        num_videos = result.written.get(part, 0) + result.skipped.get(part, 0)
        say(f"{out / part}: {counted(num_videos, 'video')}")
    if result.failed:
        table = Table("failed", "reason", title_justify="left")
        for target, reason in list(result.failed.items())[:NUM_SHOWN]:
            table.add_row(Text(target), Text(reason))
        show(table)
        if len(result.failed) > NUM_SHOWN:
            say(f"and {len(result.failed) - NUM_SHOWN} more, all in {out / 'prepared.json'}")
