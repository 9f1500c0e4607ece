"""Clips that overlap -> one video: of every clip the frames up to where the next begins, of the last one all (Alg. 7).

With clips of 16 frames every 8 frames, a video of T frames has m - 1 clips, m = T // 8, and comes back with 8 m frames.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.recall.config import CLIP_FRAMES

Clip = Float[Tensor, "1 3 16 h w"]


def stitch(first: Float[Tensor, "n c t h w"], second: Float[Tensor, "n c t h w"], hop: int) -> Tensor:
    """Return clips of the first's frames up to where the second begins, and the second's from there (Sec. 4.2)."""
    return torch.cat([first[:, :, :hop], second[:, :, : CLIP_FRAMES - hop]], dim=2)


def clips_for(num_frames: int, hop: int) -> int:
    """Return how many clips make a video of `num_frames` or just over."""
    return 1 + max(0, -(-(num_frames - CLIP_FRAMES) // hop))


def frames_of(num_clips: int, hop: int) -> int:
    """Return how many frames so many stitched clips have."""
    return (num_clips - 1) * hop + CLIP_FRAMES


def windows(
    frames: UInt8[np.ndarray, "t height width 3"], hop: int
) -> Iterator[UInt8[np.ndarray, "16 height width 3"]]:
    """Yield the overlapping clips of a video, as views; frames after the last whole one are left off."""
    for start in range(0, len(frames) - CLIP_FRAMES + 1, hop):
        yield frames[start : start + CLIP_FRAMES]


def stitched(clips: Iterator[Clip], hop: int) -> Iterator[Float[Tensor, "1 3 t h w"]]:
    """Yield the video's frames clip by clip: only the last clip's are held back."""
    rest: Clip | None = None
    for clip in clips:
        yield clip[:, :, :hop]
        rest = clip[:, :, hop:]
    if rest is not None:
        yield rest
