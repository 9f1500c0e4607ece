"""KTH actions: 25 people, 6 actions, 4 scenes, 599 videos in 2,391 ranges (Schuldt et al., ICPR 2004).

    person01_boxing_d1_uncomp.avi, ... in any folders
    00sequences.txt      "person01_boxing_d1    frames    1-95, 96-185, 186-245, 246-360", or "*missing*"

becomes one video per range, <part>/<action>/person01_boxing_d1_1, ..._2. The ranges count frames from 1 and include
both ends. Split `people` is the official one: training, validation and test people; `prediction` is that of video
prediction papers: people 1 to 16 train, 17 to 25 test; `all` makes no parts.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from longtake.core.errors import UserError
from longtake.data.sets.layout import DataSet, Item, find_file, read_text, videos_by_name

_PEOPLE: dict[str, dict[str, Collection[int]]] = {
    "people": {
        "train": (11, 12, 13, 14, 15, 16, 17, 18),
        "validation": (19, 20, 21, 23, 24, 25, 1, 4),
        "test": (22, 2, 3, 5, 6, 7, 8, 9, 10),
    },
    "prediction": {"train": range(1, 17), "test": range(17, 26)},
    "all": {"": range(1, 26)},
}
_LINE = re.compile(r"(?P<video>person(?P<person>\d\d)_(?P<action>[a-z]+)_d\d)\s+frames\s+(?P<ranges>.*)")
_RANGES = re.compile(r"\d+-\d+(\s*,\s*\d+-\d+)*\s*,?")


def _find(root: Path, split: str) -> list[Item]:
    part_of = {person: part for part, people in _PEOPLE[split].items() for person in people}
    videos = videos_by_name(root, (".avi",))
    sequences = find_file(root, "00sequences.txt")
    items = []
    for number, line in enumerate(read_text(sequences).splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            continue  # the heading, an empty line, or the video that is missing
        file = f"{match['video']}_uncomp.avi"
        part = part_of.get(int(match["person"]))
        if part is None or not _RANGES.fullmatch(match["ranges"].strip()):
            raise UserError(f"{sequences}: line {number} is not a person of 1 to 25 and ranges of frames")
        ranges = [(int(first), int(last)) for first, last in re.findall(r"(\d+)-(\d+)", match["ranges"])]
        for place, (first, last) in enumerate(ranges, 1):
            name = f"{match['action']}/{match['video']}_{place}"
            items.append(Item(videos.get(file, root / file), part, name, frames=(first - 1, last)))
    return items


KTH = DataSet(_find, splits=tuple(_PEOPLE))
