"""Overlapping windows of a video: the clip pairs and the whole-video sequences that recall models train on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from einops import rearrange
from jaxtyping import Shaped, UInt8
from torch import Tensor

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.data.clips import FrameIndices, window_starts
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset, ClipSource
from longtake.data.index import Unreadable, VideoEntry, VideoIndex
from longtake.data.transforms import augment


def split_windows(
    video: Shaped[Tensor, "b c t h w"], num_frames: int = 16, stride: int = 8
) -> Shaped[Tensor, "b n c num_frames h w"]:
    """Return every window of `num_frames` frames at a distance of `stride`, as views of `video`.

    A 24-frame window gives the overlapping pair of R2 and AR2, frames 0..15 and 8..23 (thesis, Alg. 6 and 9). Frames
    after the last whole window are left off. Raises `UserError` if the video has fewer than `num_frames` frames.
    """
    if video.shape[2] < num_frames:
        raise UserError(f"a video of {counted(video.shape[2], 'frame')} is too short for windows of {num_frames}")
    return rearrange(video.unfold(2, num_frames, stride), "b c n h w t -> b n c t h w")


@dataclass(frozen=True)
class VideoSequence:
    """All windows of one video, in order.

    Attributes:
        windows: uint8 frames "n t size size 3"; overlapping windows share memory, so do not write to them.
        starts: number of each window's first frame, in the video (as augmented: played backwards, from its end), "n".
        source: where the video comes from; `start` is 0.
    """

    windows: UInt8[np.ndarray, "n t size size 3"]
    starts: FrameIndices
    source: ClipSource


class SequenceDataset:
    """Endless whole videos as sequences of overlapping windows, addressed by position; `len` is the number of videos.

    Made for stages that walk through a video: LSTM stages, whose clips share one frame (`stride` 15 for 16 frames;
    thesis, Alg. 4), and GPT stages, whose tokens are windows at stride 8 (Sec. 5.3). Order, seeds, cache, and what
    happens to videos too short for one window are those of `ClipDataset`; an augmentation is drawn once per video.

    Args:
        index: the videos.
        clip: length, stride and size of the windows; its mode must be `windows`.
        augment: random changes of the whole video.
        seed: what order and augmentation derive from.
        max_frames: frames of a video beyond this many are left off (the thesis: 1000); None keeps all.
        cache_bytes: as in `ClipDataset`.

    Raises `UserError` if no video is usable or `max_frames` has no room for a window.
    """

    def __init__(
        self,
        index: VideoIndex,
        clip: ClipConfig,
        augment: AugmentConfig,
        seed: int,
        max_frames: int | None = None,
        cache_bytes: int = 2**30,
    ) -> None:
        assert clip.mode == "windows"
        if max_frames is not None and max_frames < clip.num_frames:
            raise UserError(f"max_frames is {max_frames}; it must be at least {clip.num_frames}, one window")
        self.clip = clip
        self.max_frames = max_frames
        one_per_video = ClipConfig(num_frames=clip.num_frames, size=clip.size, short_videos="leave_out")
        self._videos = ClipDataset(index, one_per_video, augment, seed, cache_bytes)

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, position: int) -> VideoSequence:
        return self.sample(position)

    @property
    def entries(self) -> tuple[VideoEntry, ...]:
        """The videos that sequences are drawn from."""
        return self._videos.entries

    @property
    def too_short(self) -> tuple[Unreadable, ...]:
        """The videos that are left out, with the reason."""
        return self._videos.too_short

    @property
    def longest(self) -> int:
        """Windows of the longest sequence: what padded sequences are padded to."""
        return max(len(self._starts(entry.info.num_frames)) for entry in self.entries)

    def sample(self, position: int, substitute: int = 0) -> VideoSequence:
        """Return the sequence at `position`, or its `substitute`-th replacement: the one that many places on.

        A pure function of the dataset's seed and the arguments. Raises `VideoError` if the video cannot be decoded.
        """
        video, _, rng = self._videos.choose(position, substitute)
        entry = self.entries[video]
        starts = self._starts(entry.info.num_frames)
        frames = augment(self._videos.video(video)[: self.max_frames], self._videos.augment, rng)
        views = np.lib.stride_tricks.sliding_window_view(frames, self.clip.num_frames, axis=0)[:: self.clip.stride]
        source = ClipSource(entry.label, entry.text, entry.info.fps, str(entry.path), 0)
        return VideoSequence(rearrange(views, "n h w c t -> n t h w c"), starts, source)

    def _starts(self, num_video_frames: int) -> FrameIndices:
        kept = min(num_video_frames, self.max_frames or num_video_frames)
        return window_starts(kept, replace(self.clip, short_videos="leave_out"))
