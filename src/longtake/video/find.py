"""The videos of a folder, at any depth, and what else lies there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from longtake.core.errors import UserError
from longtake.core.files import printable
from longtake.video.info import VIDEO_SUFFIXES, is_folder, is_video


@dataclass(frozen=True)
class FolderContents:
    """What lies under a folder, hidden files aside, each in the order of the relative paths.

    Attributes:
        root: the folder.
        videos: every video: a file, or a folder of png or jpg frames. A folder that is named like a video file but
            holds no video is among them, and so is one that may not be read: reading them as videos says what is wrong.
        other_files: every file that is no video and no frame of one.
    """

    root: Path
    videos: tuple[Path, ...]
    other_files: tuple[Path, ...]

    @property
    def why_no_video(self) -> str:
        """One line that says what there is in place of videos."""
        found = ", ".join(f"{ending} ({count})" for ending, count in count_endings(self.other_files).items())
        what = f"holds no video, only files of type {found}" if found else "is empty"
        return f"folder {self.root} {what} (known: {', '.join(sorted(VIDEO_SUFFIXES))}, folders of png or jpg)"


def scan_folder(root: Path) -> FolderContents:
    """Look through `root` at any depth, passing over names that begin with a dot.

    Raises `UserError` if `root` is no folder or may not be read.
    """
    if not root.exists():
        raise UserError(f"folder {root} does not exist")
    if not root.is_dir():
        raise UserError(f"{root} is a file; a folder of videos is needed")
    found = sorted(_walk(root, frozenset()), key=lambda item: item[0].relative_to(root).parts)
    videos = tuple(path for path, is_one in found if is_one)
    return FolderContents(root, videos, tuple(path for path, is_one in found if not is_one))


def find_videos(root: Path) -> list[Path]:
    """Return `scan_folder(root).videos`; raises `UserError` if there is none."""
    contents = scan_folder(root)
    if not contents.videos:
        raise UserError(contents.why_no_video)
    return list(contents.videos)


def count_endings(paths: Iterable[Path]) -> dict[str, int]:
    """Return the number of files by ending, such as ".txt", or "none", the most frequent first."""
    counts = Counter(printable(path.suffix.lower()) or "none" for path in paths)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield what lies under `folder` and whether it is a video; a folder that is one is not entered.

    `above` are the folders on the way to it, to which links may lead back.
    """
    if folder.resolve() in above:
        return
    if is_video(folder):
        yield folder, True
        return
    try:
        children = [child for child in folder.iterdir() if not child.name.startswith(".")]
    except OSError as error:
        if not above:
            raise UserError(f"cannot read folder {folder}: {error.strerror}") from error
        yield folder, True  # reading it says why it cannot be read, and the others are not lost
        return
    for child in children:
        if is_folder(child):
            inside = list(_walk(child, above | {folder.resolve()}))
            # a folder that is named like a video and holds none is a mistake somebody should hear of
            mistaken = child.suffix.lower() in VIDEO_SUFFIXES and not any(is_one for _, is_one in inside)
            yield from [(child, True)] if mistaken else inside
        else:
            yield child, is_video(child)
