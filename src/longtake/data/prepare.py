"""A published data set in its own layout -> a folder of videos in ours; interrupted, it goes on where it was."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from longtake.core.errors import UserError, choose_one_of
from longtake.core.files import ensure_writable_folder, printable, remove, write_json
from longtake.data.index import Progress
from longtake.data.sets.audioset_drum import AUDIOSET_DRUM
from longtake.data.sets.kth import KTH
from longtake.data.sets.layout import DataSet, Item
from longtake.data.sets.mugen import MUGEN
from longtake.data.sets.options import PrepareOptions
from longtake.data.sets.sky_timelapse import SKY_TIMELAPSE
from longtake.data.sets.taichi_hd import TAICHI_HD
from longtake.data.sets.ucf101 import UCF101
from longtake.data.sets.uva_nemo import UVA_NEMO
from longtake.data.sets.weizmann import WEIZMANN
from longtake.data.sets.writing import finished, write_item
from longtake.data.workers import GivenUp, map_with_limit
from longtake.video import VideoError

SETS: dict[str, DataSet] = {
    "ucf101": UCF101,
    "sky-timelapse": SKY_TIMELAPSE,
    "taichi-hd": TAICHI_HD,
    "uva-nemo": UVA_NEMO,
    "weizmann": WEIZMANN,
    "kth": KTH,
    "audioset-drum": AUDIOSET_DRUM,
    "mugen": MUGEN,
}

RECORD = "prepared.json"
TIME_LIMIT = 1800.0  # seconds for one video, of processes that can be ended
_LEFTOVER = re.compile(r"\..*\.[0-9a-f]{8}\.partial(\..*)?")  # what `atomic_path` leaves where a process is killed


@dataclass(frozen=True)
class Preparation:
    """What came of a preparation.

    Attributes:
        written: videos made now, by part of the split ("" where there is none).
        skipped: videos that were there already, by part.
        failed: every video that could not be made, by its path in the prepared folder, with the reason.
    """

    written: dict[str, int]
    skipped: dict[str, int]
    failed: dict[str, str]

    @property
    def num_prepared(self) -> int:
        """Videos that are there now."""
        return sum(self.written.values()) + sum(self.skipped.values())


def prepare(
    name: str,
    root: Path,
    out: Path,
    options: PrepareOptions | None = None,
    *,
    split: str | None = None,
    num_workers: int = 0,
    progress: Progress | None = None,
) -> Preparation:
    """Turn the data set `name`, as published, in folder `root` into folders of videos under `out`.

    Each part of the split becomes a folder that training can be pointed to, with the class of a video as its parent
    folder and a captions file where the set has texts. Videos that need no change are hard links of the published
    files, or copies where the disks differ. `out`/prepared.json records set, split, options and counts. Called again
    with the same settings, what is finished is skipped and what failed is tried again. `num_workers` processes work
    side by side, and a video on which one crashes or spends more than half an hour has failed; with 0 all happens in
    this process, without limit. `progress` counts videos.

    Raises `UserError` if `root` does not have the published layout, or if `out` holds anything but the same
    preparation or lies in `root`.
    """
    data_set = SETS[choose_one_of("data set", name, SETS)]
    split = data_set.splits[0] if split is None else choose_one_of(f"split of {name}", split, data_set.splits)
    root, out, options = Path(root), Path(out), options or PrepareOptions()
    if not root.is_dir():
        raise UserError(f"{root} is not a folder")
    if out.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{out} lies in {root}; choose a folder outside of the published files")
    items = data_set.find(root, split)
    _check_targets(items, root)
    record = {"set": name, "split": split, "options": asdict(options)}
    _begin(out, record, root)

    report = progress or _ignore
    done = [item for item in items if finished(out, item)]
    skipped = Counter(item.part for item in done)
    known = {item.target for item in done}
    remaining = [item for item in items if item.target not in known]
    report(len(done), len(items))
    written: Counter[str] = Counter()
    reasons = {}
    for count, (item, reason) in enumerate(_attempt_all(out, remaining, options, num_workers), len(done) + 1):
        if reason:
            reasons[item.target] = reason
        else:
            written[item.part] += 1
        report(count, len(items))
    failed = {printable(item.target): printable(reasons[item.target]) for item in remaining if item.target in reasons}

    _remove_leftovers(out)
    _write_captions(out, items)
    counts = {part: written[part] + skipped[part] for part in {item.part: None for item in items}}
    result = {"root": str(root), "finished": True, "videos": counts, "failed": failed}
    write_json(out / RECORD, record | result)
    return Preparation(dict(written), dict(skipped), failed)


def _check_targets(items: list[Item], root: Path) -> None:
    """Refuse an empty list, two videos that would become the same file, and names that lead out of the folder."""
    if not items:
        raise UserError(f"{root} holds no video of this set")
    twice = [target for target, count in Counter(item.target for item in items).items() if count > 1]
    if twice:
        raise UserError(f"{root}: two videos would both become {twice[0]}")
    outside = [item.target for item in items if item.name.startswith("/") or ".." in Path(item.target).parts]
    if outside:
        raise UserError(f"{root}: a video is named {outside[0]!r}, which leads out of the folder")


def _begin(out: Path, record: dict[str, Any], root: Path) -> None:
    """Make `out` ours, or see that it is the same preparation, and clear away what a killed one has left."""
    ensure_writable_folder(out)
    file = out / RECORD
    if not file.exists():
        if any(out.iterdir()):
            raise UserError(f"{out} holds other files; choose an empty folder or one of an earlier preparation")
        write_json(file, record | {"root": str(root), "finished": False})
        return
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))
        changed = [key for key in record if earlier.get(key) != record[key]]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{file}: is not the record of a preparation") from error
    if changed:
        key = changed[0]
        raise UserError(f"{out} was prepared with {key} {earlier.get(key)}, not {record[key]}; choose another folder")
    _remove_leftovers(out)


def _remove_leftovers(out: Path) -> None:
    for path in list(out.rglob(".*")):
        if _LEFTOVER.fullmatch(path.name):
            remove(path)


def _attempt_all(out: Path, items: list[Item], options: PrepareOptions, num_workers: int) -> Iterator[tuple[Item, str]]:
    """Yield each item, when it is done, with the reason why it failed ("" if it did not)."""
    attempt = partial(_attempt, out, options)
    if num_workers == 0:
        yield from ((item, attempt(item)) for item in items)
        return
    for position, result in map_with_limit(attempt, items, num_workers, TIME_LIMIT):
        yield items[position], result.reason if isinstance(result, GivenUp) else result


def _attempt(out: Path, options: PrepareOptions, item: Item) -> str:
    try:
        write_item(out, item, options)
    except VideoError as error:
        return str(error)
    return ""


def _write_captions(out: Path, items: list[Item]) -> None:
    """Write captions.json of every part whose videos have captions; only of videos that are there."""
    captions: dict[str, dict[str, str]] = {}
    for item in items:
        video = finished(out, item) if item.caption else None
        if video is not None:
            part = out / item.part
            captions.setdefault(item.part, {})[video.relative_to(part).as_posix()] = item.caption
    for part_name, texts in captions.items():
        write_json(out / part_name / "captions.json", texts)


def _ignore(done: int, total: int) -> None:
    """Progress that nobody watches."""
