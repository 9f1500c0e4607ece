"""Which frames of a video make a clip: random in training, given or central in evaluation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.data.config import ClipConfig

FrameIndices = Int[np.ndarray, " t"]

_WHOLE_VIDEO = ("uniform", "bins")  # modes whose clips always span all of the video


def clip_span(clip: ClipConfig) -> int:
    """Return how many frames a video needs at least so that `clip` fits with all its frames distinct."""
    return (clip.num_frames - 1) * clip.step + 1


def shortest_video(clip: ClipConfig) -> int:
    """Return how many frames a video needs at least to be used at all."""
    return 1 if clip.short_videos == "reflect" and clip.mode not in _WHOLE_VIDEO else clip_span(clip)


def last_start(num_video_frames: int, clip: ClipConfig) -> int:
    """Return the last frame that a clip can start at; the first is 0. Raises `UserError` if the video is too short."""
    span = clip_span(clip)
    if num_video_frames < shortest_video(clip):
        raise UserError(f"a video of {counted(num_video_frames, 'frame')} is too short for a clip that spans {span}")
    return 0 if clip.mode in _WHOLE_VIDEO else max(0, num_video_frames - span)


def window_starts(num_video_frames: int, clip: ClipConfig) -> FrameIndices:
    """Return where the windows of a video start: 0, stride, 2 stride, ... as long as `clip.num_frames` frames follow.

    A video of n frames has n // 8 - 1 windows of 16 frames at stride 8, one that is too short has none; with
    `short_videos` "reflect" it has one.
    """
    if num_video_frames < shortest_video(clip):
        return np.arange(0)
    return np.arange(0, last_start(num_video_frames, clip) + 1, clip.stride)


def clip_indices(num_video_frames: int, clip: ClipConfig, rng: np.random.Generator) -> FrameIndices:
    """Draw the frames of one training clip, ascending; every start that fits is equally likely.

    Mode `uniform` has nothing to draw. A video shorter than `clip_span(clip)` is reflected at its ends if
    `clip.short_videos` says so, else it raises `UserError`.
    """
    last = last_start(num_video_frames, clip)
    if clip.mode == "windows":
        return clip_at(num_video_frames, clip, int(rng.choice(window_starts(num_video_frames, clip))))
    if clip.mode == "bins":
        edges = part_edges(num_video_frames, clip.num_frames)
        return rng.integers(edges[:-1], edges[1:])
    if clip.mode == "random_step":
        return clip_indices(num_video_frames, _fix_step(num_video_frames, clip, int(rng.choice(clip.steps))), rng)
    return clip_at(num_video_frames, clip, int(rng.integers(last + 1)))


def centre_clip(num_video_frames: int, clip: ClipConfig) -> FrameIndices:
    """Return the frames of the clip in the middle of the video (mode `random_step`: at its smallest step).

    Raises `UserError` if the video is too short.
    """
    if clip.mode == "random_step":
        clip = _fix_step(num_video_frames, clip, min(clip.steps))
    return clip_at(num_video_frames, clip, last_start(num_video_frames, clip) // 2)


def clip_at(num_video_frames: int, clip: ClipConfig, start: int) -> FrameIndices:
    """Return the frames of the clip that starts at frame `start`.

    Nothing is random: modes `uniform` and `bins` always start at 0, `bins` takes the middle frame of each part, and
    `random_step` its smallest step. Raises `UserError` if the video is too short or the clip would leave it.
    """
    if clip.mode == "random_step":
        clip = _fix_step(num_video_frames, clip, min(clip.steps))
    last = last_start(num_video_frames, clip)
    if not 0 <= start <= last:
        raise UserError(f"clip start is {start}; in a video of {counted(num_video_frames, 'frame')} it is 0 to {last}")
    if clip.mode == "uniform":
        return np.linspace(0, num_video_frames - 1, clip.num_frames).round().astype(np.int64)
    if clip.mode == "bins":
        edges = part_edges(num_video_frames, clip.num_frames)
        return (edges[:-1] + edges[1:] - 1) // 2
    return reflect(start + clip.step * np.arange(clip.num_frames), num_video_frames)


def reflect(indices: FrameIndices, num_video_frames: int) -> FrameIndices:
    """Fold frame numbers beyond the last frame back: 0, 1, ..., n - 1, n - 2, ..., 1, 0, 1, ... without repeats."""
    if num_video_frames == 1:
        return np.zeros_like(indices)
    position = indices % (2 * num_video_frames - 2)
    return np.minimum(position, 2 * num_video_frames - 2 - position)


def part_edges(num_video_frames: int, num_parts: int) -> FrameIndices:
    """Return the first frame of each of the parts of a video whose lengths differ by at most 1, and the end.

    Where there are more parts than frames, some are empty and begin at the same frame.
    """
    return np.arange(num_parts + 1) * num_video_frames // num_parts


def frame_spacing(indices: FrameIndices) -> float:
    """Return the mean distance in the file between neighbouring frames of a clip (1 if only one frame is in it)."""
    return float(np.abs(np.diff(indices)).mean()) if len(set(indices.tolist())) > 1 else 1.0


def _fix_step(num_video_frames: int, clip: ClipConfig, step: int) -> ClipConfig:
    """Return `clip` at one of its random steps, or at the largest that the video has room for."""
    room = (num_video_frames - 1) // max(1, clip.num_frames - 1)
    return ClipConfig(
        num_frames=clip.num_frames,
        mode="step",
        step=max(1, min(step, room)),
        size=clip.size,
        short_videos=clip.short_videos,
    )
