"""UvA-NEMO Smile Database: 597 spontaneous and 643 deliberate smiles of 400 people (Dibeklioglu et al., ECCV 2012).

    videos/001_deliberate_smile_1.mp4, ... (anywhere under the folder)
    UvA-NEMO_Smile_Database_File_Details.txt     some lines of heading, then tab-separated rows
                                                 file name, subject, gender, age, smile type

becomes deliberate/... and spontaneous/...; the set has no official split into training and test.
"""

from __future__ import annotations

from pathlib import Path

from longtake.core.errors import UserError
from longtake.data.sets.layout import DataSet, Item, find_file, read_text, videos_by_name
from longtake.video import VIDEO_SUFFIXES

DETAILS = "UvA-NEMO_Smile_Database_File_Details.txt"
SMILES = ("deliberate", "spontaneous")


def _find(root: Path, split: str) -> list[Item]:
    details = find_file(root, DETAILS)
    videos = videos_by_name(root)
    items = []
    for number, line in enumerate(read_text(details).splitlines(), 1):
        name, *fields = (field.strip() for field in line.split("\t"))
        if Path(name).suffix.lower() not in VIDEO_SUFFIXES:
            continue  # the heading
        smile = next((field.lower() for field in fields if field.lower() in SMILES), None)
        if smile is None:
            raise UserError(f"{details}: line {number} gives {name} no smile type ({' or '.join(SMILES)})")
        items.append(Item(videos.get(name, root / "videos" / name), "", f"{smile}/{Path(name).stem}"))
    return items


UVA_NEMO = DataSet(_find, splits=("all",))
