"""One published video -> one video of ours: linked where nothing changes, coded anew where something does."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from longtake.core.files import atomic_path
from longtake.data.clips import FrameIndices
from longtake.data.sets.layout import Box, Item
from longtake.data.sets.options import PrepareOptions
from longtake.data.sets.stft import SAMPLE_RATE, frame_spectra, spectra_path, write_spectra
from longtake.video import VideoError, VideoInfo, VideoReader, open_writer, probe
from longtake.video.audio import read_audio
from longtake.video.info import FRAME_SUFFIXES

_CHUNK = 16  # frames in memory at a time
_SAME_RATE = 5e-4  # rates are written with few digits (29.97, 23.98)
_WITHOUT_RATE = ("images", "npy")  # `VideoInfo.codec` of videos that carry no rate of their own


def finished(out: Path, item: Item) -> Path | None:
    """Return the prepared video of `item`, which is there only when it is whole; None if it has yet to be made."""
    return next((path for path in (_linked(out, item), _coded(out, item)) if path.exists()), None)


def write_item(out: Path, item: Item, options: PrepareOptions) -> None:
    """Make the video of `item` under `out`, whole or not at all.

    Raises `VideoError`, with the reason, if the published video cannot be read or does not have the frames wanted.
    """
    info = probe(item.source)
    plan = _plan(info, item, options)
    target = _coded(out, item) if plan.changes_pixels else _linked(out, item)
    if item.sound is not None:
        # before the video: where that is, all is done
        samples = read_audio(item.sound, SAMPLE_RATE)
        write_spectra(spectra_path(target), frame_spectra(samples, len(plan.frames), plan.fps))
    if not plan.changes_pixels:
        _link(item.source, target)
        return
    with open_writer(target, plan.fps) as writer:
        for frames in _read(item.source, plan.frames):
            writer.write(_cut(frames, plan.window, options.size))


@dataclass(frozen=True)
class _Plan:
    """What is to be done to a video.

    Attributes:
        frames: which frames of the source are kept, in order; one may come several times.
        fps: the rate of the result.
        window: the rectangle kept of each frame, in its own pixels; square and resized to `options.size` after that.
        changes_pixels: whether anything but the file's place changes.
    """

    frames: FrameIndices
    fps: float
    window: Box
    changes_pixels: bool


def _plan(info: VideoInfo, item: Item, options: PrepareOptions) -> _Plan:
    first, last = _range(info, item)
    if not 0 <= first < last <= info.num_frames:
        raise VideoError(f"{item.source}: no frames {first} to {last - 1}, the video has {info.num_frames}")
    frames, fps = np.arange(first, last), info.fps
    if options.fps is not None:
        if info.codec not in _WITHOUT_RATE:
            frames = frames[shown_frames(len(frames), fps, options.fps)]
        fps = options.fps
    window = _window(info, item.box, options.margin)
    whole = (window.left, window.top, window.right, window.bottom) == (0, 0, info.width, info.height)
    sized = options.size is None or (info.height, info.width) == (options.size, options.size)
    same_time = len(frames) == info.num_frames and bool(np.all(np.diff(frames) == 1)) and fps == info.fps
    return _Plan(frames, fps, window, changes_pixels=not (whole and sized and same_time))


def _range(info: VideoInfo, item: Item) -> tuple[int, int]:
    """Return first frame and one after the last in the source: those in the time that `item.frames` takes at its rate.

    A source of another rate may end within the last frame of the range.
    """
    if item.frames is None:
        return 0, info.num_frames
    if item.rate is None or abs(item.rate / info.fps - 1) < _SAME_RATE:
        return item.frames
    first, last = (math.ceil(frame * info.fps / item.rate - 1e-6) for frame in item.frames)
    spare = math.ceil(info.fps / item.rate)
    return first, info.num_frames if info.num_frames < last <= info.num_frames + spare else last


def shown_frames(num_frames: int, fps: float, new_fps: float) -> FrameIndices:
    """Return which frame is shown at each time k / `new_fps` of a video at `fps`: floor(k fps / new_fps)."""
    # the rates are rounded fractions (29.97...): a frame must not be missed by the last digit
    count = max(1, int(np.ceil(num_frames * new_fps / fps - 1e-6)))
    return np.floor(np.arange(count) * fps / new_fps + 1e-6).astype(np.int64).clip(max=num_frames - 1)


def _window(info: VideoInfo, box: Box | None, margin: int) -> Box:
    left, top, right, bottom = 0, 0, info.width, info.height
    if box is not None:
        left, right = (edge * info.width // box.width for edge in (box.left, box.right))
        top, bottom = (edge * info.height // box.height for edge in (box.top, box.bottom))
    left, top = max(0, left) + margin, max(0, top) + margin
    right, bottom = min(info.width, right) - margin, min(info.height, bottom) - margin
    if right <= left or bottom <= top:
        raise VideoError(f"{info.path}: nothing is left of its {info.width}x{info.height} pixels after cropping")
    return Box(left, top, right, bottom, info.width, info.height)


def _read(source: Path, frames: FrameIndices) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
    with VideoReader(source) as reader:
        for start in range(0, len(frames), _CHUNK):
            yield reader.read(frames[start : start + _CHUNK].tolist())


def _cut(frames: UInt8[np.ndarray, "t h w 3"], window: Box, size: int | None) -> UInt8[np.ndarray, "t height width 3"]:
    kept = frames[:, window.top : window.bottom, window.left : window.right]
    if size is None:
        return kept
    from longtake.data.transforms import resize_and_crop  # loads torch, which workers that only link do without

    return resize_and_crop(kept, size)


def _linked(out: Path, item: Item) -> Path:
    return out / (item.target if item.source.is_dir() else f"{item.target}{item.source.suffix}")


def _coded(out: Path, item: Item) -> Path:
    return out / f"{item.target}.mp4"


def _link(source: Path, target: Path) -> None:
    """Put a file, or a folder of frames, at `target`: the same bytes on the disk where possible, else a copy."""
    with atomic_path(target) as partial:
        if not source.is_dir():
            _link_file(source, partial)
            return
        partial.mkdir()
        for frame in source.iterdir():
            if frame.suffix.lower() in FRAME_SUFFIXES and not frame.name.startswith("."):
                _link_file(frame, partial / frame.name)


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
