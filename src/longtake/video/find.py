"""The videos of a folder, at any depth, and what else lies there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from longtake.core.errors import UserError
from longtake.core.files import printable
from longtake.video.info import VIDEO_SUFFIXES, is_video


def find_videos(root: Path) -> list[Path]:
    """Return every video under `root`, sorted by relative path. Raises `UserError` if there is none.

    A folder of png or jpg frames is one video; names that begin with a dot are passed over. A folder that is named
    like a video file but holds no video comes along, and so does one within `root` that may not be read: reading them
    as videos says what is wrong.
    """
    check_folder_exists(root)
    paths = _sorted(root, (path for path, is_one in _walk(root, frozenset()) if is_one))
    if not paths:
        found = ", ".join(f"{ending} ({count})" for ending, count in count_endings(find_other_files(root)).items())
        what = f"holds no video, only files of type {found}" if found else "is empty"
        raise UserError(f"folder {root} {what} (known: {', '.join(sorted(VIDEO_SUFFIXES))}, folders of png or jpg)")
    return paths


def find_other_files(root: Path) -> list[Path]:
    """Return every file under `root` that is no video and no frame of one, sorted by relative path; no hidden ones.

    Raises `UserError` if `root` is no folder.
    """
    check_folder_exists(root)
    return _sorted(root, (path for path, is_one in _walk(root, frozenset()) if not is_one))


def count_endings(paths: Iterable[Path]) -> dict[str, int]:
    """Return the number of files by ending, such as ".txt", or "none", the most frequent first."""
    counts = Counter(printable(path.suffix.lower()) or "none" for path in paths)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def check_folder_exists(root: Path) -> None:
    """Raise `UserError` if `root` is no folder."""
    if not root.exists():
        raise UserError(f"folder {root} does not exist")
    if not root.is_dir():
        raise UserError(f"{root} is a file; a folder of videos is needed")


def _sorted(root: Path, paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.relative_to(root).parts)


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
        if child.is_dir():
            inside = list(_walk(child, above | {folder.resolve()}))
            # a folder that is named like a video and holds none is a mistake somebody should hear of
            mistaken = child.suffix.lower() in VIDEO_SUFFIXES and not any(is_one for _, is_one in inside)
            yield from [(child, True)] if mistaken else inside
        else:
            yield child, is_video(child)
