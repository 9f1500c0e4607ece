"""Frames out of an npy file: one video as an array `(t, h, w, 3)` of uint8, memory-mapped, never loaded whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from longtake.core.files import printable
from longtake.core.npy_files import map_array
from longtake.video.info import UNKNOWN_FPS, VideoError, VideoInfo, open_failure


class ArraySource:
    """Reads frames of one npy file."""

    def __init__(self, path: Path) -> None:
        reason = open_failure(path)
        if reason:
            raise VideoError(f"{path}: {reason}")
        try:
            self._array = map_array(path)
        except Exception as error:  # numpy reads a header as Python code: it fails in as many ways
            raise VideoError(f"{path}: not a readable npy file ({printable(str(error))})") from error
        shape, dtype = self._array.shape, self._array.dtype
        if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8 or 0 in shape:
            raise VideoError(f"{path}: holds {shape} {dtype}, a video is (frames, height, width, 3) uint8")
        self.info = VideoInfo(
            path=path,
            num_frames=shape[0],
            fps=UNKNOWN_FPS,
            height=shape[1],
            width=shape[2],
            codec="npy",
            has_audio=False,
            announced_frames=shape[0],
        )

    def read(self, wanted: Sequence[int]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Yield the frames of the increasing numbers `wanted`."""
        for number in wanted:
            yield np.array(self._array[number])

    def close(self) -> None:
        """Let go of the file."""
        del self._array
