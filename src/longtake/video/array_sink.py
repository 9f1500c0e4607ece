"""Frames into one npy file whose length is not known until the last one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

# Room for the largest shape; a multiple of 64, as the format asks for aligned data.
_HEADER_BYTES = 128


class ArraySink:
    """Writes frames behind a header of fixed size that is filled in at the end: `(t, h, w, 3)` uint8.

    With `num_videos` the frames are that many videos, one after another: `(n, t, h, w, 3)`.
    """

    def __init__(self, path: Path, num_videos: int | None = None) -> None:
        self._num_videos = num_videos
        self._num_frames = 0
        self._frame_shape: tuple[int, ...] = ()
        self._file = path.open("wb")
        self._file.write(bytes(_HEADER_BYTES))

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append a frame."""
        self._frame_shape = frame.shape
        self._file.write(frame.data)
        self._num_frames += 1

    def finish(self) -> None:
        """Write the header for what has been written."""
        count: tuple[int, ...] = (self._num_frames,)
        if self._num_videos is not None:
            assert self._num_frames % self._num_videos == 0
            count = (self._num_videos, self._num_frames // self._num_videos)
        self._file.seek(0)
        self._file.write(_header((*count, *self._frame_shape)))
        self._file.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _header(shape: tuple[int, ...]) -> bytes:
    """Return a version 1.0 npy header for uint8 data in C order, padded to `_HEADER_BYTES`."""
    magic = b"\x93NUMPY\x01\x00"
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    size = _HEADER_BYTES - len(magic) - 2
    assert len(text) < size
    return magic + struct.pack("<H", size) + text.ljust(size - 1).encode("latin1") + b"\n"
