"""Sky Time-lapse: 2,392 training and 225 test clips of moving skies (Xiong et al., CVPR 2018), as folders of frames.

    sky_train/<long video>/<clip>/<frame>.jpg
    sky_test/<long video>/<clip>/<frame>.jpg

becomes train/<clip> and test/<clip>, each a folder of frames (a video file where something is changed). A clip whose
name does not begin with that of its long video gets it in front. There are no classes.
"""

from __future__ import annotations

from pathlib import Path

from longtake.core.errors import UserError
from longtake.data.sets.layout import DataSet, Item, find_folder
from longtake.video.find import scan_folder


def _find(root: Path, split: str) -> list[Item]:
    items = []
    for part in ("train", "test"):
        folder = find_folder(root, f"sky_{part}", part)
        clips = [path for path in scan_folder(folder).videos if path.is_dir()]
        if not clips:
            raise UserError(f"{folder} has no folders of frames")
        items += [Item(clip, part, _name(clip, folder)) for clip in clips]
    return items


def _name(clip: Path, folder: Path) -> str:
    inside = clip.parent != folder
    return f"{clip.parent.name}_{clip.name}" if inside and not clip.name.startswith(clip.parent.name) else clip.name


SKY_TIMELAPSE = DataSet(_find, splits=("published",))
