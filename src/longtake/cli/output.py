"""Where videos go: which files `--out` stands for, checked before any model is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from longtake.core.errors import UserError, choose_one_of

FolderFormat = Literal["mp4", "webm", "gif", "npy", "png"]


def check_can_create(path: Path) -> None:
    """Raise `UserError` if `path` can certainly not be written; creates nothing."""
    ancestor = path.absolute()
    while not ancestor.exists():
        ancestor = ancestor.parent
    if ancestor == path.absolute():
        if not os.access(path, os.W_OK):
            raise UserError(f"cannot write {path}: permission denied")
        ancestor = ancestor if path.is_dir() else ancestor.parent
    if not ancestor.is_dir():
        raise UserError(f"cannot write {path}: {ancestor} is not a folder")
    if not os.access(ancestor, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: no permission in {ancestor}")


def check_can_create_folder(folder: Path) -> None:
    """Raise `UserError` if `folder` is a file or can certainly not be written to; creates nothing."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"cannot write to {folder}: it is a file, not a folder")
    check_can_create(folder)


def video_files(out: Path, count: int, folder_format: FolderFormat) -> list[Path]:
    """Return the file (or folder of frames) of each of `count` videos, and check that they can be written.

    A path with a suffix is the file itself, numbered beside it (`x-000.mp4`) when there are several; `.npy` holds all
    of them in one array. A path without a suffix is a folder that gets one `video-000.mp4` per video (`folder_format`
    png: one folder of frames per video).
    Raises `UserError` for an unknown suffix or a place that cannot be written.
    """
    from longtake.video import WRITABLE_SUFFIXES  # loads PyAV

    if out.suffix:
        choose_one_of("video format", out.suffix.lower(), WRITABLE_SUFFIXES)
        if out.is_dir():
            raise UserError(f"cannot write {out}: it is a folder")
        if count == 1 or out.suffix.lower() == ".npy":
            files = [out]
        else:
            files = [out.with_stem(f"{out.stem}-{index:03d}") for index in range(count)]
    else:
        check_can_create_folder(out)
        suffix = "" if folder_format == "png" else f".{folder_format}"
        files = [out / f"video-{index:03d}{suffix}" for index in range(count)]
    for file in files:
        check_can_create(file)
    return files
