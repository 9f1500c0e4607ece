"""UCF-101: 13,320 videos of 101 actions (Soomro et al., 2012), in one of its three official splits.

    UCF-101/<Class>/v_<Class>_g<group>_c<clip>.avi
    ucfTrainTestlist/classInd.txt                            "1 ApplyEyeMakeup"
    ucfTrainTestlist/trainlist01.txt, ..02, ..03             "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"
    ucfTrainTestlist/testlist01.txt, ..02, ..03              "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"

becomes train/<Class>/v_... and test/<Class>/v_...
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from longtake.core.errors import UserError
from longtake.data.sets.layout import DataSet, Item, find_file, find_folder, read_text


def _find(root: Path, split: str) -> list[Item]:
    videos = find_folder(root, "UCF-101", "UCF101", "videos")
    labels = _class_labels(find_file(root, "classInd.txt"))
    return [
        item
        for part in ("train", "test")
        for item in _listed(find_file(root, f"{part}list0{split}.txt"), videos, part, labels)
    ]


def _class_labels(file: Path) -> dict[str, str]:
    rows = [line.split() for line in read_text(file).splitlines() if line.strip()]
    bad = next((row for row in rows if len(row) != 2 or not row[0].isdigit()), None)
    if bad is not None:
        raise UserError(f"{file}: {' '.join(bad)!r} is not a number and a class")
    return {name: number for number, name in rows}


def _listed(file: Path, videos: Path, part: str, labels: dict[str, str]) -> list[Item]:
    items = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        path, *label = line.split()
        name = PurePosixPath(path)
        if name.parent.name not in labels:
            raise UserError(f"{file}: line {number} names class {name.parent.name!r}, which classInd.txt does not list")
        if label and label != [labels[name.parent.name]]:
            raise UserError(f"{file}: line {number} gives {path} class {label[0]}, which classInd.txt does not")
        items.append(Item(videos / name, part, f"{name.parent.name}/{name.stem}"))
    return items


UCF101 = DataSet(_find, splits=("1", "2", "3"))
