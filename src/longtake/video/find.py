"""The videos of a folder, at any depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from longtake.core.errors import UserError
from longtake.video.info import VIDEO_SUFFIXES, is_video


def find_videos(root: Path) -> list[Path]:
    """Return every video under `root`, sorted by relative path. Raises `UserError` if there is none.

    A folder of png or jpg frames is one video; names that begin with a dot are passed over. A folder that is named
    like a video file but holds no video comes along: reading it says what is wrong.
    """
    if not root.exists():
        raise UserError(f"folder {root} does not exist")
    if not root.is_dir():
        raise UserError(f"{root} is a file; a folder of videos is needed")
    paths = sorted(_walk(root, frozenset()), key=lambda path: path.relative_to(root).parts)
    if not paths:
        what = "holds no video" if any(root.iterdir()) else "is empty"
        raise UserError(f"folder {root} {what} (known: {', '.join(sorted(VIDEO_SUFFIXES))}, folders of png or jpg)")
    return paths


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
            inside = list(_walk(child, above | {folder.resolve()}))
            # a folder that is named like a video and holds none is a mistake somebody should hear of
            yield from inside or ([child] if child.suffix.lower() in VIDEO_SUFFIXES else [])
        elif is_video(child):
            yield child
