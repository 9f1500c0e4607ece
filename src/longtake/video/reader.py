"""Any video the library knows, as exact uint8 RGB frames by their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from longtake.video.array_source import ArraySource
from longtake.video.container_source import ContainerSource
from longtake.video.frame_folder import FrameFolderSource
from longtake.video.info import CONTAINER_SUFFIXES, VIDEO_SUFFIXES, VideoError, VideoInfo, is_folder
from longtake.video.packet_index import packet_index


class _Source(Protocol):
    @property
    def info(self) -> VideoInfo: ...

    def read(self, wanted: Sequence[int]) -> Iterator[UInt8[np.ndarray, "h w 3"]]: ...

    def close(self) -> None: ...


class VideoReader:
    """Reads frames of one video by number: mp4, avi, mkv, webm, mov, gif, npy `(t, h, w, 3)`, folder of png or jpg.

    Frame `k` is the k-th frame in presentation order; in a file that is not damaged it is the same whether read alone
    or with the whole video. (A damaged picture also depends on what was decoded before it, and so on the order of
    reading.) Frames are RGB in [0, 255], turned and mirrored as the file says, pixels as stored (no correction of pixel
    aspect). Of several video streams the first is read; the cover picture of a sound file is none. Not to be shared
    between threads or processes. Raises `VideoError` if the video cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._source = _open_source(self.path)

    @property
    def info(self) -> VideoInfo:
        """The facts of the video."""
        return self._source.info

    def read(self, indices: Sequence[int]) -> UInt8[np.ndarray, "n h w 3"]:
        """Return the frames of these numbers in the order asked; numbers may repeat.

        Raises `VideoError` for a number outside `0 .. num_frames - 1` and for frames that turn out not to decode.
        """
        numbers = np.asarray(indices, dtype=np.int64).reshape(-1)
        info = self.info
        for number in numbers:
            if not 0 <= number < info.num_frames:
                raise VideoError(f"{self.path}: no frame {number}, the video has {info.num_frames}")
        wanted, places = np.unique(numbers, return_inverse=True)
        frames = np.empty((len(wanted), info.height, info.width, 3), dtype=np.uint8)
        for place, frame in enumerate(self._source.read(wanted.tolist())):
            frames[place] = frame
        return frames if np.array_equal(wanted, numbers) else frames[places]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Yield frames `start .. stop - 1` (by default to the end) one by one, without holding them.

        Raises `VideoError` if the range is outside the video, or when a frame turns out not to decode.
        """
        stop = self.info.num_frames if stop is None else stop
        if not 0 <= start <= stop <= self.info.num_frames:
            raise VideoError(f"{self.path}: no frames {start} to {stop}, the video has {self.info.num_frames}")
        return self._stream(start, stop)

    def _stream(self, start: int, stop: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        # its own decoder, so that reads in between do not move it
        source = _open_source(self.path)
        try:
            yield from source.read(range(start, stop))
        finally:
            source.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_video(path: Path, indices: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
    """Return the frames `indices` of a video, by default all of them. Raises `VideoError`."""
    with VideoReader(path) as reader:
        return reader.read(range(reader.info.num_frames) if indices is None else indices)


def probe(path: Path, *, decode: bool = False) -> VideoInfo:
    """Return the facts of a video, cheaply: packets are counted, image headers are read, one frame is decoded.

    With `decode` every frame is decoded and `num_frames` is how many came out. Raises `VideoError` if the video cannot
    be opened, has no frames, or (a folder) mixes sizes.
    """
    path = Path(path)
    if not is_folder(path) and path.suffix.lower() in CONTAINER_SUFFIXES:
        return packet_index(path, decode=decode).info
    source = _open_source(path)
    try:
        if isinstance(source, FrameFolderSource):
            source.check_sizes()
        if decode:
            num_frames = sum(1 for _ in source.read(range(source.info.num_frames)))
            return replace(source.info, num_frames=num_frames)
        return source.info
    finally:
        source.close()


def _open_source(path: Path) -> _Source:
    if is_folder(path):
        return FrameFolderSource(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return ArraySource(path)
    if suffix in CONTAINER_SUFFIXES:
        return ContainerSource(path)
    raise VideoError(f"{path}: not a video (known: {', '.join(VIDEO_SUFFIXES)}, or a folder of png or jpg frames)")
