"""What is known about a video without its pixels, and which paths count as videos."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from longtake.core.errors import UserError

CONTAINER_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".gif")
"""Files that are demuxed and decoded."""

VIDEO_SUFFIXES = (*CONTAINER_SUFFIXES, ".npy")
"""Every file suffix the reader takes; a folder of png or jpg frames is a video too."""

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Image files that make a folder a video."""

UNKNOWN_FPS = 25.0
"""The rate given to videos that do not carry one: frame folders and npy files."""


class VideoError(UserError):
    """A video that cannot be read or written. The message is always `FILE: reason`."""


@dataclass(frozen=True)
class VideoInfo:
    """The facts of one video."""

    path: Path
    num_frames: int
    """Frames that can be read. From `probe(path)` it is counted from the packets where the codec gives one frame per
    packet, and by decoding elsewhere; `probe(path, decode=True)` always decodes."""
    fps: float
    """Mean rate; `UNKNOWN_FPS` where the file has none."""
    height: int
    """Pixels, after rotation, as the frames are returned."""
    width: int
    codec: str
    """FFmpeg's name of the codec; `images` for a folder of frames, `npy` for an array."""
    has_audio: bool
    announced_frames: int | None = None
    """Frames that the file's own header promises, None where it promises none. More than `num_frames` means that the
    file is truncated or damaged."""
    oddities: tuple[str, ...] = ()
    """What is unusual about the file though it can be read, each in a few words: see `video.oddities`."""


def is_video(path: Path) -> bool:
    """Say whether `path` looks like a video: a file by its suffix, a folder by holding frames and no further videos.

    A folder counts if it holds at least one png or jpg and neither a video file nor a subfolder, so that a data set's
    root with a stray preview image is not taken for a video. Hidden files (partial writes, resource forks) never count.
    """
    if path.name.startswith("."):
        return False
    if not is_folder(path):
        return path.suffix.lower() in VIDEO_SUFFIXES
    has_frames = False
    try:
        entries = list(path.iterdir())
    except OSError:
        return False
    for entry in entries:
        if entry.name.startswith("."):
            continue
        suffix = entry.suffix.lower()
        if suffix in FRAME_SUFFIXES:
            has_frames = True
        elif suffix in VIDEO_SUFFIXES or is_folder(entry):
            return False
    return has_frames


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; what may not be looked at is none, so that opening it as a file says why."""
    return os.path.isdir(path)  # noqa: PTH112 (Path.is_dir raises in a folder that may be listed, but not entered)


def open_failure(path: Path) -> str | None:
    """Why the file at `path` cannot be opened at all (missing, permissions, not a file, empty); None if it can."""
    try:
        if not path.is_file():
            if path.exists():
                return "not a file"
            return "a link that leads nowhere" if path.is_symlink() else "no such file"
        with path.open("rb") as file:
            return None if file.read(1) else "the file is empty (0 bytes)"
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
