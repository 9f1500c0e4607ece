"""Frames into files, chunk by chunk: mp4, webm, gif, npy or a folder of png, written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

import av
import numpy as np
from jaxtyping import UInt8

from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.core.wording import counted
from longtake.video.array_sink import ArraySink
from longtake.video.codec_sink import GifSink, Mp4Sink, WebmSink
from longtake.video.info import VideoError
from longtake.video.png_sink import PNG_FRAME_NAME, PngFolderSink

WRITABLE_SUFFIXES = (".mp4", ".webm", ".gif", ".npy")
"""File formats of the writer; a path without suffix becomes a folder of png frames."""

_FPS = (0.001, 1000.0)  # what fractions with denominators up to 1001, as files have them, can say
_GIF_FPS = (100 / 65535, 50.0)  # delays are hundredths of a second in 16 bits, and browsers slow down what is under two


class _Sink(Protocol):
    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


class VideoWriter:
    """Writes one video: `with open_writer(path, fps) as writer: writer.write(chunk)`.

    The file appears under its name when the block ends well, and not at all when it does not: after an exception, or
    with no frame written (`UserError`), nothing is left. Memory does not grow with the number of frames.
    """

    def __init__(self, path: Path, fps: float, *, num_videos: int | None = None) -> None:
        self.path = Path(path)
        self.fps = float(fps)
        self.num_frames = 0
        self._num_videos = num_videos
        self._shape: tuple[int, ...] | None = None
        self._open_sink = _choose_sink(self.path, self.fps, num_videos)
        self._sink: _Sink | None = None

    def __enter__(self) -> VideoWriter:
        with ExitStack() as stack:  # undoes what is open if a later step fails
            partial = stack.enter_context(atomic_path(self.path.absolute()))
            with self._named_failures():
                self._sink = self._open_sink(partial)
            stack.callback(self._sink.close)
            self._stack = stack.pop_all()
        return self

    def write(self, chunk: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Append frames; every chunk has the height and width of the first. Raises `VideoError`."""
        assert self._sink is not None, "write() outside of the with block"
        if chunk.dtype != np.uint8 or chunk.ndim != 4 or chunk.shape[-1] != 3 or 0 in chunk.shape[1:3]:
            raise VideoError(f"{self.path}: frames are (t, h, w, 3) uint8, not {chunk.shape} {chunk.dtype}")
        if self._shape not in (None, chunk.shape[1:]):
            raise VideoError(f"{self.path}: a chunk of frames {chunk.shape[1:]} after frames {self._shape}")
        self._shape = chunk.shape[1:]
        for frame in chunk:
            with self._named_failures():
                self._sink.write(np.ascontiguousarray(frame))
            self.num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._sink is not None
        sink, self._sink = self._sink, None
        if error is not None:
            self._stack.__exit__(kind, error, traceback)
            return
        with self._stack:
            if self.num_frames == 0:
                raise UserError(f"{self.path}: no frames were written")
            if self._num_videos and self.num_frames % self._num_videos:
                raise VideoError(
                    f"{self.path}: {counted(self.num_frames, 'frame')} do not make "
                    f"{counted(self._num_videos, 'video')} of one length"
                )
            with self._named_failures():
                sink.finish()

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        """Turn what the disk or the encoder refuses into a `VideoError`."""
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            raise VideoError(f"{self.path}: cannot write ({error.strerror or error})") from error


def open_writer(path: Path, fps: float, *, num_videos: int | None = None) -> VideoWriter:
    """Return a writer for `path`, the format chosen by the suffix: .mp4, .webm, .gif, .npy; none = a folder of png.

    `num_videos` (npy only) writes that many videos of one length, one after another, as `(n, t, h, w, 3)`. mp4 frames
    of odd size get one more row or column, a copy of the last one, since H.264 stores colour at half size. Raises
    `UserError` for an unknown suffix, a rate the format cannot hold, or a place that must not be overwritten.
    """
    return VideoWriter(path, fps, num_videos=num_videos)


def write_video(path: Path, frames: UInt8[np.ndarray, "t h w 3"], fps: float) -> None:
    """Write a whole video; see `open_writer`."""
    with open_writer(path, fps) as writer:
        writer.write(frames)


def check_rate(path: Path, fps: float) -> None:
    """Raise `UserError` for a rate in frames per second that a file of this suffix cannot hold."""
    lowest, highest = _GIF_FPS if path.suffix.lower() == ".gif" else _FPS
    if not lowest <= fps <= highest:
        raise UserError(f"{path}: {fps:g} frames per second (allowed: {lowest:g} to {highest:g})")


def _choose_sink(path: Path, fps: float, num_videos: int | None) -> Callable[[Path], _Sink]:
    suffix = path.suffix.lower()
    if suffix not in ("", *WRITABLE_SUFFIXES):
        raise UserError(
            f"{path}: cannot write {suffix} (known: {', '.join(WRITABLE_SUFFIXES)}, or no suffix for a folder of png)"
        )
    check_rate(path, fps)
    if num_videos is not None and (suffix != ".npy" or num_videos < 1):
        raise UserError(f"{path}: {counted(num_videos, 'video')} in one file (only .npy holds several, at least 1)")
    _check_place(path, suffix)
    if suffix == ".npy":
        return lambda partial: ArraySink(partial, num_videos)
    if suffix == "":
        return PngFolderSink
    if suffix == ".gif":
        return lambda partial: GifSink(partial, fps)
    return lambda partial: (Mp4Sink if suffix == ".mp4" else WebmSink)(partial, fps)


def _check_place(path: Path, suffix: str) -> None:
    """Refuse to put a file where a folder is, and to replace a folder that holds anything but frames of ours."""
    if suffix and path.is_dir():
        raise UserError(f"{path}: is a folder, the video would be a file")
    if suffix or not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"{path}: is a file, a path without suffix is a folder of png frames")
    foreign = next((entry.name for entry in path.iterdir() if not re.fullmatch(PNG_FRAME_NAME, entry.name)), None)
    if foreign:
        raise UserError(f"{path}: the folder exists and holds {foreign!r}; only a folder of frames is replaced")
