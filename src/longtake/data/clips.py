"""Which frames of a video make a clip: random in training, given or central in evaluation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from longtake.core.errors import UserError
from longtake.data.config import ClipConfig

FrameIndices = Int[np.ndarray, " t"]


def clip_span(clip: ClipConfig) -> int:
    """Return how many frames a video needs at least so that `clip` fits with all its frames distinct."""
    return (clip.num_frames - 1) * clip.step + 1


def shortest_video(clip: ClipConfig) -> int:
    """Return how many frames a video needs at least to be used at all."""
    return 1 if clip.short_videos == "reflect" and clip.mode != "uniform" else clip_span(clip)


def clip_indices(num_video_frames: int, clip: ClipConfig, rng: np.random.Generator) -> FrameIndices:
    """Draw the frames of one training clip, ascending; every start that fits is equally likely.

    Mode `uniform` has nothing to draw. A video shorter than `clip_span(clip)` is reflected at its ends if
    `clip.short_videos` says so, else it raises `UserError`.
    """
    last_start = _last_start(num_video_frames, clip)
    return clip_at(num_video_frames, clip, int(rng.integers(last_start + 1)))


def centre_clip(num_video_frames: int, clip: ClipConfig) -> FrameIndices:
    """Return the frames of the clip in the middle of the video. Raises `UserError` if the video is too short."""
    return clip_at(num_video_frames, clip, _last_start(num_video_frames, clip) // 2)


def clip_at(num_video_frames: int, clip: ClipConfig, start: int) -> FrameIndices:
    """Return the frames of the clip that starts at frame `start` (mode `uniform` always starts at 0).

    Raises `UserError` if the video is too short or the clip would leave it.
    """
    last_start = _last_start(num_video_frames, clip)
    if not 0 <= start <= last_start:
        raise UserError(f"clip start is {start}; in a video of {num_video_frames} frames it is 0 to {last_start}")
    if clip.mode == "uniform":
        return np.linspace(0, num_video_frames - 1, clip.num_frames).round().astype(np.int64)
    return reflect(start + clip.step * np.arange(clip.num_frames), num_video_frames)


def reflect(indices: FrameIndices, num_video_frames: int) -> FrameIndices:
    """Fold frame numbers beyond the last frame back: 0, 1, ..., n - 1, n - 2, ..., 1, 0, 1, ... without repeats."""
    if num_video_frames == 1:
        return np.zeros_like(indices)
    position = indices % (2 * num_video_frames - 2)
    return np.minimum(position, 2 * num_video_frames - 2 - position)


def frame_spacing(indices: FrameIndices) -> float:
    """Return the mean distance in the file between neighbouring frames of a clip (1 if only one frame is in it)."""
    return float(np.abs(np.diff(indices)).mean()) if len(set(indices.tolist())) > 1 else 1.0


def _last_start(num_video_frames: int, clip: ClipConfig) -> int:
    span = clip_span(clip)
    if num_video_frames < shortest_video(clip):
        raise UserError(f"a video of {num_video_frames} frames is too short for a clip that spans {span}")
    return 0 if clip.mode == "uniform" else max(0, num_video_frames - span)
