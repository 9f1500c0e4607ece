"""Clips by position: position p gives the same clip in every process, in every run, after every resume."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from longtake.core.errors import UserError
from longtake.core.randomness import derive_seed
from longtake.core.wording import counted
from longtake.data.clips import FrameIndices, clip_at, clip_indices, frame_spacing, shortest_video, window_starts
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.index import VideoEntry, VideoIndex, usable
from longtake.data.transforms import SquareFrames, augment, resize_and_crop
from longtake.video import VideoError, VideoReader

DECODE_TRIES = 3  # a network drive may fail once; a broken file fails every time
ORDER, CLIP = 0, 1  # what a seed is for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipSource:
    """Where a clip comes from and what is known of it; the fields are those of `VideoBatch`."""

    label: int
    text: str
    fps: float
    path: str
    start: int


@dataclass(frozen=True)
class Clip:
    """One training sample: uint8 frames "t size size 3" and their source."""

    frames: SquareFrames
    source: ClipSource


class ClipDataset:
    """Endless training clips, addressed by position; `len` is the number of positions per epoch.

    Epoch e shows every video once, in mode `windows` every window of every video, in an order drawn from (seed, e);
    which frames of the video and how they are augmented is drawn from (seed, position). Videos too short for the clip
    are left out, listed in `too_short` and logged.

    Decoded videos are kept in memory, resized, as long as all together stay under `cache_bytes` (of each training
    process, shared out among its workers); after that, clips are read from their files. Nothing is evicted: under a
    new order each epoch, dropping the least recently used would drop just what comes next.

    Raises `UserError` if no video is usable.
    """

    def __init__(
        self, index: VideoIndex, clip: ClipConfig, augment: AugmentConfig, seed: int, cache_bytes: int = 2**30
    ) -> None:
        fitting, self.too_short = usable(index, shortest_video(clip))
        if self.too_short:
            example = self.too_short[0]
            logger.warning("left out %d videos, such as %s: %s", len(self.too_short), example.path, example.reason)
        if not fitting.entries:
            bad = (*index.unreadable, *self.too_short)
            example_text = f", such as {bad[0].path}: {bad[0].reason}" if bad else ""
            raise UserError(f"no usable video in {index.root} ({len(bad)} left out{example_text})")
        self.index = fitting
        self.clip = clip
        self.augment = augment
        self.seed = seed
        self.cache_bytes = cache_bytes
        self._clips = _clips_of_an_epoch(fitting.entries, clip)
        self._cache: dict[int, SquareFrames] = {}
        self._cached_bytes = 0
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, position: int) -> Clip:
        return self.sample(position)

    def __getstate__(self) -> dict[str, Any]:
        # a worker that is started by pickling fills its own cache
        return self.__dict__ | {"_cache": {}, "_cached_bytes": 0}

    @property
    def entries(self) -> tuple[VideoEntry, ...]:
        """The videos that clips are drawn from."""
        return self.index.entries

    def choose(self, position: int, substitute: int = 0) -> tuple[int, FrameIndices, np.random.Generator]:
        """Return the video and the frames of the clip at `position`, and the generator for what is random beyond that.

        For stages that keep their own copy of the videos, such as latents. Arguments as in `sample`.
        """
        video, start = self._clip_at(position, substitute)
        num_frames = self.entries[video].info.num_frames
        rng = np.random.default_rng(derive_seed(self.seed, CLIP, position, substitute))
        if start is not None:
            return video, clip_at(num_frames, self.clip, start), rng
        return video, clip_indices(num_frames, self.clip, rng), rng

    def sample(self, position: int, substitute: int = 0) -> Clip:
        """Return the clip at `position`, or its `substitute`-th replacement: the one that many places on in its epoch.

        A pure function of the dataset's seed and the arguments. Raises `VideoError` if the video cannot be decoded.
        """
        video, indices, rng = self.choose(position, substitute)
        entry = self.entries[video]
        frames = augment(self._clip_frames(video, indices), self.augment, rng)
        fps = entry.info.fps / frame_spacing(indices)
        return Clip(frames, ClipSource(entry.label, entry.text, fps, str(entry.path), int(indices[0])))

    def video_at(self, position: int, substitute: int = 0) -> int:
        """Return which of `entries` the clip at `position`, or its `substitute`-th replacement, comes from."""
        return self._clip_at(position, substitute)[0]

    def video(self, i: int) -> SquareFrames:
        """Return all frames of `entries[i]`, resized. The array may be the cached one: do not write to it.

        Raises `VideoError` if it cannot be decoded.
        """
        if i in self._cache:
            return self._cache[i]
        frames = self._decode(i, None)
        frames.flags.writeable = False
        if self._fits(i):
            self._cache[i] = frames
            self._cached_bytes += frames.nbytes
        return frames

    def _clip_at(self, position: int, substitute: int) -> tuple[int, int | None]:
        epoch, place = divmod(position, len(self))
        return self._clips[int(self._epoch_order(epoch)[(place + substitute) % len(self)])]

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng(derive_seed(self.seed, ORDER, epoch))
            self._order = epoch, rng.permutation(len(self))
        return self._order[1]

    def _clip_frames(self, i: int, indices: FrameIndices) -> SquareFrames:
        if i in self._cache or self._fits(i):
            return self.video(i)[indices]
        return self._decode(i, indices)

    def _fits(self, i: int) -> bool:
        worker = get_worker_info()
        budget = self.cache_bytes // (worker.num_workers if worker is not None else 1)
        return self._cached_bytes + self.entries[i].info.num_frames * self.clip.size**2 * 3 <= budget

    def _decode(self, i: int, indices: FrameIndices | None) -> SquareFrames:
        for _ in range(DECODE_TRIES - 1):
            try:
                return decode(self.entries[i], self.clip.size, indices)
            except VideoError as error:
                logger.debug("trying again: %s", error)
        return decode(self.entries[i], self.clip.size, indices)


def _clips_of_an_epoch(entries: tuple[VideoEntry, ...], clip: ClipConfig) -> list[tuple[int, int | None]]:
    """Return (video, first frame) of each clip of an epoch; the frame is None where it is drawn anew each time."""
    if clip.mode != "windows":
        return [(video, None) for video in range(len(entries))]
    return [
        (video, start)
        for video, entry in enumerate(entries)
        for start in window_starts(entry.info.num_frames, clip).tolist()
    ]


def decode(entry: VideoEntry, size: int, indices: FrameIndices | None = None) -> SquareFrames:
    """Read the frames at `indices` (default: all, resized one by one as they come, so that memory stays small).

    Raises `VideoError` if the file cannot be decoded or holds another number of frames than when it was indexed.
    """
    with VideoReader(entry.path) as reader:
        if indices is not None:
            return resize_and_crop(reader.read(indices.tolist()), size)
        frames = [resize_and_crop(frame[None], size)[0] for frame in reader.frames()]
    if len(frames) != entry.info.num_frames:
        raise VideoError(f"{entry.path}: {counted(len(frames), 'frame')} where {entry.info.num_frames} were announced")
    return np.stack(frames)
