"""A folder of videos -> a list of what can be read, with class and caption, and of what cannot, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from longtake.core.errors import UserError
from longtake.data.captions import read_captions
from longtake.video import VIDEO_SUFFIXES, VideoError, VideoInfo, is_video, probe

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]  # called with (videos done, videos in all)


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
    `num_workers` threads probe side by side (the order stays). Raises `UserError` if `root` is no folder, holds no
    video, or its captions file is wrong.
    """
    root = Path(root)
    paths = find_videos(root)
    names = [path.relative_to(root).as_posix() for path in paths]
    captions = read_captions(root)
    strangers = sorted(captions.keys() - set(names))
    if strangers:
        raise UserError(f"{root}: the captions name {strangers[0]!r}, which is not a video")
    class_names = ["" if path.parent == root or path == root else path.parent.name for path in paths]
    classes = tuple(sorted(set(class_names) - {""}))
    label_of = {"": -1} | {name: label for label, name in enumerate(classes)}

    entries, unreadable = [], []
    for done, found in enumerate(map_in_order(_probe, paths, num_workers), 1):
        path, name, class_name = paths[done - 1], names[done - 1], class_names[done - 1]
        if isinstance(found, Unreadable):
            unreadable.append(found)
        else:
            entries.append(VideoEntry(path, label_of[class_name], captions.get(name, ""), found))
        if progress is not None:
            progress(done, len(paths))
    return VideoIndex(root, tuple(entries), classes, tuple(unreadable))


def usable(index: VideoIndex, span: int) -> tuple[VideoIndex, tuple[Unreadable, ...]]:
    """Split off the videos with fewer than `span` frames: the index without them (same classes), and them."""
    fitting = tuple(entry for entry in index.entries if entry.info.num_frames >= span)
    too_short = tuple(
        Unreadable(entry.path, f"too short: {entry.info.num_frames} frames, a clip needs {span}")
        for entry in index.entries
        if entry.info.num_frames < span
    )
    return replace(index, entries=fitting), too_short


def reason_of(path: Path, error: VideoError) -> str:
    """Return the message of `error` without the file name it begins with."""
    return str(error).removeprefix(f"{path}: ")


def find_videos(root: Path) -> list[Path]:
    """Return every video under `root`, sorted by relative path. Raises `UserError` if there is none."""
    if not root.exists():
        raise UserError(f"folder {root} does not exist")
    if not root.is_dir():
        raise UserError(f"{root} is a file; a folder of videos is needed")
    paths = sorted(_walk(root, frozenset()), key=lambda path: path.relative_to(root).parts)
    if not paths:
        what = "holds no video" if any(root.iterdir()) else "is empty"
        raise UserError(f"folder {root} {what} (known: {', '.join(sorted(VIDEO_SUFFIXES))}, folders of png or jpg)")
    return paths


def map_in_order(function: Callable[[Item], Result], items: Sequence[Item], num_workers: int) -> Iterator[Result]:
    """Yield `function` of each item in order, computed by `num_workers` threads (0: by the caller).

    Threads suffice: the decoder works outside the interpreter lock.
    """
    if num_workers == 0:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(num_workers) as pool:
        yield from pool.map(function, items)


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Yield the videos under `folder`; `above` are the folders on the way to it, to which links may lead back."""
    if folder.resolve() in above:
        return
    if is_video(folder):
        yield folder
        return
    try:
        children = [child for child in folder.iterdir() if not child.name.startswith(".")]
    except OSError as error:
        raise UserError(f"cannot read folder {folder}: {error.strerror}") from error
    for child in children:
        if child.is_dir():
            yield from _walk(child, above | {folder.resolve()})
        elif is_video(child):
            yield child


def _probe(path: Path) -> VideoInfo | Unreadable:
    try:
        return probe(path)
    except VideoError as error:
        return Unreadable(path, reason_of(path, error))
