"""What is unusual about a file that can be read, and what a file is that cannot."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from longtake.core.wording import counted

# FFmpeg's name of the container that belongs to each suffix.
_CONTAINERS = {
    ".mp4": "mov,mp4,m4a,3gp,3g2,mj2",
    ".mov": "mov,mp4,m4a,3gp,3g2,mj2",
    ".mkv": "matroska,webm",
    ".webm": "matroska,webm",
    ".avi": "avi",
    ".gif": "gif",
}
_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x93NUMPY": "an npy array",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
}
_GIF_TRAILER = b";"
_NUM_SNIFFED_BYTES = 512
_NUM_QUOTED_CHARACTERS = 40
# Distances between frames that differ by less are one rate: jitter of a camera, and rounding to whole ticks.
_JITTER = 0.1
_ROUNDING_TICKS = 1.5


def find_file_oddities(path: Path, container: str, num_streams: int) -> tuple[str, ...]:
    """Describe what is unusual about a file around its frames: `container` is FFmpeg's name of what it is.

    `num_streams` is the number of its video streams. Raises `OSError` if it cannot be read.
    """
    found = []
    if container != _CONTAINERS.get(path.suffix.lower(), container):
        found.append(f"named {path.suffix}, but its container is {container}")
    if num_streams > 1:
        found.append(f"it holds {num_streams} video streams: only the first is read")
    if container == "gif" and not _has_gif_end(path):
        found.append("the mark at its end is missing: cut short")
    return tuple(found)


def find_frame_oddities(
    *,
    num_frames: int,
    announced_frames: int | None,
    stamps: np.ndarray | None,
    tick: Fraction | None,
    is_ordered: bool,
    is_oriented: bool,
) -> tuple[str, ...]:
    """Describe what is unusual about the frames of a file, each thing in a few words.

    Args:
        num_frames: frames found.
        announced_frames: frames its header promises; None where it promises none.
        stamps: presentation stamps of the frames, increasing; None if there are none to trust.
        tick: seconds per unit of `stamps`.
        is_ordered: whether its time stamps are in order.
        is_oriented: whether its pictures can be turned and mirrored just as it says.
    """
    found = []
    if announced_frames is not None and announced_frames > num_frames:
        found.append(
            f"{counted(num_frames, 'frame')} where its header announces {announced_frames}: cut short or damaged"
        )
    if not is_ordered:
        found.append("its time stamps are out of order")
    if not is_oriented:
        found.append("its display matrix is no right angle and no mirror image: the nearest of these is taken")
    if stamps is not None and tick is not None and len(stamps) > 2:
        found += _variable_rate(np.diff(stamps), tick)
    return tuple(found)


def _variable_rate(gaps: np.ndarray, tick: Fraction) -> list[str]:
    median = float(np.median(gaps))
    if np.abs(gaps - median).max() <= max(_JITTER * median, _ROUNDING_TICKS):
        return []
    shortest, longest = (float(1000 * gap * tick) for gap in (int(gaps.min()), int(gaps.max())))
    return [f"variable frame rate: {shortest:.3g} to {longest:.3g} ms from frame to frame"]


def _has_gif_end(path: Path) -> bool:
    """Whether a GIF ends in its trailer (zeros may follow): nothing else tells of one that is cut between frames."""
    with path.open("rb") as file:
        file.seek(-min(_NUM_SNIFFED_BYTES, path.stat().st_size), os.SEEK_END)
        return file.read().rstrip(b"\0").endswith(_GIF_TRAILER)


def describe_contents(path: Path) -> str | None:
    """Say what a file is that is no video, such as "a PNG image" or "text that begins '<html>'"; None if unknown."""
    try:
        with path.open("rb") as file:
            start = file.read(_NUM_SNIFFED_BYTES)
    except OSError:
        return None
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature):
            return kind
    # the last character may be cut in two
    text = start.decode("utf-8", errors="ignore")
    if len(text.encode()) < len(start) - 3 or not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    first_line = next(iter(text.strip().splitlines()), "")
    return f"text that begins {first_line[:_NUM_QUOTED_CHARACTERS]!r}"
