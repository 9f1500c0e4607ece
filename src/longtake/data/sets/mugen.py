"""MUGEN: 375,000 clips of 3.2 seconds of the game CoinRun with descriptions (Hayes et al., ECCV 2022).

    coinrun_dataset_jsons/release/train.json, val.json, test.json (anywhere under the folder)
        {"data": [{"video": {"id": ..., "video_file": ...}, "annotations": [{"text": ..., "type": "manual"}, ...]}]}
    the videos, <id>.mp4, anywhere under the folder

becomes train/<id>, val/<id> and test/<id>, with a caption each: the first hand-written text, the automatic one where
there is none. The release holds game states from which the authors' code draws the pictures; they must be drawn first,
and what has no video file is listed as failed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from longtake.core.errors import UserError
from longtake.data.sets.layout import DataSet, Item, find_file, read_text, videos_by_name


def _find(root: Path, split: str) -> list[Item]:
    release = find_file(root, "train.json").parent
    videos = {Path(name).stem: path for name, path in sorted(videos_by_name(root).items())}
    items = []
    for part in ("train", "val", "test"):
        file = release / f"{part}.json"
        if file.is_file():
            items += [_item(file, number, entry, videos, part) for number, entry in enumerate(_entries(file), 1)]
    return items


def _entries(file: Path) -> list[Any]:
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: is not JSON: {error}") from error
    entries = content.get("data") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UserError(f'{file}: is not an object with a list "data"')
    return entries


def _item(file: Path, number: int, entry: Any, videos: dict[str, Path], part: str) -> Item:  # noqa: ANN401
    try:
        identity = entry["video"]["id"]
        texts = [(annotation.get("type"), annotation["text"]) for annotation in entry["annotations"]]
        by_hand = [text for kind, text in texts if kind == "manual"]
        caption = (by_hand or [text for _, text in texts])[0]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"{file}: entry {number} has no video id or no text") from error
    if not identity or not isinstance(identity, str) or not isinstance(caption, str):
        raise UserError(f"{file}: entry {number} has video id {identity!r} and text {caption!r}; both must be text")
    return Item(videos.get(identity, file.parent / f"{identity}.mp4"), part, identity, caption=caption)


MUGEN = DataSet(_find, splits=("published",))
