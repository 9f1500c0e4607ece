"""What changes along one video: from frame to frame, at each lag, and from the first frame to the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from einops import rearrange
from jaxtyping import Float, Shaped, UInt8
from numpy.typing import ArrayLike

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.metrics.samples import as_array, as_frames, as_samples

LAGS = (2, 5, 10, 20, 50)
JOINT_BINS = 8


def temporal_flickering(frames: Shaped[np.ndarray, "t h w c"]) -> float:
    """VBench's temporal flickering score of one video: 1 - mean |f_t - f_(t+1)| for values in [0, 1]; 1 is a still.

    Takes uint8, or floats in [0, 1]. Source: Huang et al. 2024, (255 - MAE) / 255.
    Raises `UserError` for another shape, fewer than 2 frames or NaN.
    """
    video = as_array(frames, "frames", "t h w c")
    if video.ndim != 4 or len(video) < 2 or 0 in video.shape:
        raise UserError(f"flickering needs a video (t, h, w, c) of at least 2 frames, not {video.shape}")
    # two frames at a time: a long video in doubles would not fit in memory
    pairs = (as_frames(video[t : t + 2]) for t in range(len(video) - 1))
    return float(1 - np.mean([np.abs(later - earlier).mean() for earlier, later in pairs]))


def cosine_similarity_by_lag(features: ArrayLike, lags: Sequence[int] = LAGS) -> Float[np.ndarray, " l"]:
    """Mean cosine between the features of frames t and t + lag of one video (t, d), for each lag.

    Similarity of neighbours says nothing of slow drift: a curve that falls with the lag does.
    Raises `UserError` for wrong shapes, NaN, a frame whose features are all 0, or a lag outside 1..t-1.
    """
    vectors = as_samples(features, "features of frames", "t d")
    impossible = [lag for lag in lags if not 1 <= lag < len(vectors)]
    if impossible:
        raise UserError(
            f"a video of {counted(len(vectors), 'frame')} has no lag {impossible[0]}: from 1 to {len(vectors) - 1}"
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not norms.all():
        raise UserError("a frame whose features are all 0 has no direction")
    vectors = vectors / norms
    return np.array([np.einsum("td,td->t", vectors[:-lag], vectors[lag:]).mean() for lag in lags])


def histogram_correlation(frames: UInt8[np.ndarray, "t h w 3"]) -> float:
    """Pearson's correlation of the first and the last frame's joint colour histogram, 8 x 8 x 8 bins.

    As OpenCV's HISTCMP_CORREL on such histograms. Raises `UserError` for another shape or type.
    """
    weights = (JOINT_BINS**2, JOINT_BINS, 1)
    bins = (pixels.astype(np.int64) // (256 // JOINT_BINS) @ weights for pixels in ends(frames))
    return correlation(*(np.bincount(numbers, minlength=JOINT_BINS**3) for numbers in bins))


def channel_histogram_correlation(frames: UInt8[np.ndarray, "t h w 3"]) -> float:
    """Pearson's correlation of the first and the last frame's histograms of 256 bins, mean over the channels.

    Raises `UserError` for another shape or type.
    """
    first, last = ends(frames)
    return float(
        np.mean(
            [
                correlation(*(np.bincount(colours[:, channel], minlength=256) for colours in (first, last)))
                for channel in range(3)
            ]
        )
    )


def ends(frames: UInt8[np.ndarray, "t h w 3"]) -> tuple[UInt8[np.ndarray, "p 3"], UInt8[np.ndarray, "p 3"]]:
    """Pixels of the first and the last frame; raises `UserError` if these are not frames of bytes."""
    video = as_array(frames, "frames", "t h w c")
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3 or video.size == 0:
        raise UserError(f"colour histograms need uint8 frames (t, h, w, 3), not {video.dtype} {video.shape}")
    return rearrange(video[0], "h w c -> (h w) c"), rearrange(video[-1], "h w c -> (h w) c")


def correlation(x: Shaped[np.ndarray, " b"], y: Shaped[np.ndarray, " b"]) -> float:
    """Pearson's correlation; where one histogram is flat, 1 if the other is the same and 0 if not."""
    first, second = x - x.mean(), y - y.mean()
    scale = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float(first @ second / scale) if scale else float(np.array_equal(x, y))
