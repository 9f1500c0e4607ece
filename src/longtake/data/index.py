"""A folder of videos -> a list of what can be read, with class and caption, and of what cannot, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from longtake.core.errors import UserError
from longtake.core.files import printable
from longtake.core.wording import counted
from longtake.data.captions import read_captions
from longtake.data.workers import GivenUp, map_with_limit
from longtake.video import VideoError, VideoInfo, probe
from longtake.video.find import find_videos

Item = TypeVar("Item")
Progress = Callable[[int, int], None]  # called with (videos done, videos in all)
Probe = Callable[[Path], VideoInfo]  # raises `VideoError` for what cannot be read

TIME_LIMIT = 60.0  # seconds for the headers and packets of one file


@dataclass(frozen=True)
class VideoEntry:
    """One readable video.

    Attributes:
        path: the file, or the folder of frames.
        label: position of its class in `VideoIndex.classes`; -1 without a class.
        text: its caption; "" without one.
        info: what probing the file found.
    """

    path: Path
    label: int
    text: str
    info: VideoInfo


@dataclass(frozen=True)
class Unreadable:
    """A video that is left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class VideoIndex:
    """All videos of a folder in the order of their relative paths.

    Attributes:
        root: the folder.
        entries: the videos that can be read.
        classes: sorted names of the folders that hold the videos; empty if videos lie directly in `root`.
        unreadable: the videos that cannot be read, each once.
    """

    root: Path
    entries: tuple[VideoEntry, ...]
    classes: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]


def index_folder(root: Path, num_workers: int = 0, progress: Progress | None = None) -> VideoIndex:
    """Find and probe every video under `root`, at any depth; a folder of png or jpg frames is one video.

    The class of a video is the name of the folder it lies in; videos directly in `root` have none. Captions come
    from the captions file of `root` (see `read_captions`). Names that begin with a dot are passed over.
    `num_workers` processes probe side by side (the order stays), and a video on which one crashes or spends more than
    `TIME_LIMIT` seconds counts as unreadable; with 0 workers all happens in this process, without limit. Raises
    `UserError` if `root` is no folder or may not be read, holds no video, or its captions file is wrong.
    """
    root = Path(root)
    return index_videos(root, find_videos(root), num_workers, progress)


def index_videos(
    root: Path,
    paths: Sequence[Path],
    num_workers: int = 0,
    progress: Progress | None = None,
    *,
    look: Probe = probe,
    time_limit: float = TIME_LIMIT,
) -> VideoIndex:
    """Do as `index_folder` for the videos at `paths`, all that `root` holds; there may be none.

    `look` is what looks at each of them. Raises `UserError` if the captions file of `root` is wrong.
    """
    names = [path.relative_to(root).as_posix() for path in paths]
    captions = read_captions(root)
    strangers = sorted(captions.keys() - set(names))
    if strangers:
        raise UserError(f"{root}: the captions name {strangers[0]!r}, which is not a video")
    class_names = ["" if path.parent == root or path == root else path.parent.name for path in paths]
    classes = tuple(sorted(set(class_names) - {""}))
    label_of = {"": -1} | {name: label for label, name in enumerate(classes)}

    entries: dict[int, VideoEntry] = {}
    unreadable: dict[int, Unreadable] = {}
    for done, (place, found) in enumerate(_look_at_all(look, paths, num_workers, time_limit), 1):
        if isinstance(found, Unreadable):
            unreadable[place] = found
        else:
            label = label_of[class_names[place]]
            entries[place] = VideoEntry(paths[place], label, captions.get(names[place], ""), found)
        if progress is not None:
            progress(done, len(paths))
    return VideoIndex(root, _in_order(entries), classes, _in_order(unreadable))


def usable(index: VideoIndex, span: int) -> tuple[VideoIndex, tuple[Unreadable, ...]]:
    """Split off the videos with fewer than `span` frames: the index without them (same classes), and them."""
    fitting = tuple(entry for entry in index.entries if entry.info.num_frames >= span)
    too_short = tuple(
        Unreadable(entry.path, f"too short: {counted(entry.info.num_frames, 'frame')}, a clip needs {span}")
        for entry in index.entries
        if entry.info.num_frames < span
    )
    return replace(index, entries=fitting), too_short


def video_name(root: Path, path: Path) -> str:
    """Return the path of a video within `root`, with slashes, made `printable`."""
    return printable(path.relative_to(root).as_posix())


def reason_of(path: Path, error: VideoError) -> str:
    """Return the message of `error` without the file name it begins with, made `printable`."""
    return printable(str(error).removeprefix(f"{path}: "))


def _look_at_all(
    look: Probe, paths: Sequence[Path], num_workers: int, time_limit: float
) -> Iterator[tuple[int, VideoInfo | Unreadable]]:
    """Yield (place, what `look` finds) for each path, in any order."""
    task = partial(_look_at, look)
    if num_workers == 0:
        yield from enumerate(map(task, paths))
        return
    for place, found in map_with_limit(task, paths, num_workers, time_limit):
        yield place, Unreadable(paths[place], found.reason) if isinstance(found, GivenUp) else found


def _look_at(look: Probe, path: Path) -> VideoInfo | Unreadable:
    try:
        return look(path)
    except VideoError as error:
        return Unreadable(path, reason_of(path, error))


def _in_order(items: dict[int, Item]) -> tuple[Item, ...]:
    return tuple(items[place] for place in sorted(items))
