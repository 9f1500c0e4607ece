"""What every family's pipeline checks of a request: a mistake is one line that names the value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longtake.core.errors import UserError, choose_one_of
from longtake.core.wording import counted


def check_at_least(what: str, value: int, minimum: int) -> None:
    """Raise `UserError` if `value` is less than `minimum`."""
    if value < minimum:
        raise UserError(f"{what} must be at least {minimum}, not {value}")


def check_key(what: str, value: int) -> None:
    """Raise `UserError` unless `value` can be hashed to a seed."""
    if not 0 <= value < 2**64:
        raise UserError(f"{what} must be in 0..2**64-1, not {value}")


def check_range(start: int, stop: int, num_frames: int) -> None:
    """Raise `UserError` unless start..stop is a range of at least one frame within a video of `num_frames`."""
    check_at_least("number of frames", num_frames, 1)
    if not 0 <= start < stop <= num_frames:
        raise UserError(
            f"cannot make frames {start}..{stop}: it must be 0 <= start < stop <= {num_frames} (all frames)"
        )


def check_video(video: np.ndarray, num_frames: int) -> None:
    """Raise `UserError` unless `video` is uint8 "t h w 3" with at least `num_frames` frames."""
    if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8:
        raise UserError(f"a video must be uint8 of shape (t, h, w, 3), not {video.dtype} of shape {video.shape}")
    if len(video) < num_frames:
        raise UserError(f"the video has {counted(len(video), 'frame')}, but the model needs {num_frames}")


def class_index(label: int | str, classes: Sequence[str]) -> int:
    """Return the index of a class given by name or index.

    Raises `UserError` for a label that is not there, naming the nearest.
    """
    if isinstance(label, str):
        if label in classes or not label.isdecimal():
            return list(classes).index(choose_one_of("label", label, classes))
        label = int(label)  # an index from the command line
    if not 0 <= label < len(classes):
        raise UserError(f"label {label} is out of range: the model has classes 0..{len(classes) - 1}")
    return label
