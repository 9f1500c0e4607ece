"""TaiChi-HD: about 3,000 clips of single people doing tai chi (Siarohin et al., NeurIPS 2019).

What is published is a table, from which the authors' script downloads and cuts; both of its stages are read:

    taichi-metadata.csv            video_id,start,end,bbox,fps,width,height,partition
    train/, test/                  <video_id>#<start>#<end>.mp4, frame numbers of six digits: the cut clips, as video
                                   files or (script option --format .png) as folders of frames of the same name
    youtube-taichi/<video_id>.mp4  whole videos, for clips that are not there: frames start .. end - 1 are cut, and in
                                   them bbox (left-top-right-bottom). The table counts frames at fps and pixels in a
                                   picture of width x height: both are scaled to the video, as the script does

becomes train/<video_id>#<start>#<end> and test/... Without the table, all that train/ and test/ hold is taken.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from longtake.core.errors import UserError
from longtake.data.sets.layout import Box, DataSet, Item, find_folder, read_text
from longtake.video import is_video

PARTS = ("train", "test")
_COLUMNS = {"video_id", "start", "end", "bbox", "fps", "width", "height", "partition"}


def _find(root: Path, split: str) -> list[Item]:
    table = root / "taichi-metadata.csv"
    if table.is_file():
        return list(_from_table(root, table))
    folders = {part: find_folder(root, part) for part in PARTS}
    return [
        Item(path, part, path.name.removesuffix(".mp4"))
        for part, folder in folders.items()
        for path in sorted(folder.iterdir())
        if is_video(path)
    ]


def _from_table(root: Path, table: Path) -> Iterator[Item]:
    rows = csv.DictReader(read_text(table).splitlines())
    missing = sorted(_COLUMNS - set(rows.fieldnames or ()))
    if missing:
        raise UserError(f"{table}: has no column {missing[0]!r}")
    for number, row in enumerate(rows, 2):
        part = row["partition"]
        if part not in PARTS:
            raise UserError(f"{table}: row {number} has partition {part!r}; it must be train or test")
        try:
            start, end, width, height = (int(row[name]) for name in ("start", "end", "width", "height"))
            left, top, right, bottom = (int(value) for value in row["bbox"].split("-"))
            rate = float(row["fps"])
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{table}: row {number} does not hold whole numbers and a bbox of four") from error
        if not (rate > 0 and width > 0 and height > 0):
            raise UserError(f"{table}: row {number} has fps {rate:g} and size {width}x{height}; all must be above 0")
        name = f"{row['video_id']}#{start:06d}#{end:06d}"
        clip, whole = root / part / f"{name}.mp4", root / "youtube-taichi" / f"{row['video_id']}.mp4"
        if clip.exists() or not whole.exists():
            yield Item(clip, part, name)
        else:
            box = Box(left, top, right, bottom, width, height)
            yield Item(whole, part, name, frames=(start, end), rate=rate, box=box)


TAICHI_HD = DataSet(_find, splits=("published",))
