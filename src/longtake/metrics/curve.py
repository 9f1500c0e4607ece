"""A number for each frame, lag or segment, over many videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from longtake.core.errors import UserError
from longtake.metrics.samples import as_samples


@dataclass(frozen=True)
class Curve:
    """Mean and (population) standard deviation over the videos at each place of the curve."""

    mean: Float[np.ndarray, " t"]
    std: Float[np.ndarray, " t"]
    num_videos: int


def average_curve(curves: ArrayLike) -> Curve:
    """Average curves (n, t), one for each video: of `psnr` and `ssim` per frame, or of cosines by lag.

    Raises `UserError` for NaN, no videos, or videos of different lengths.
    """
    try:
        stacked = np.asarray(curves, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError("curves of different lengths cannot be averaged: cut the videos to one length") from error
    stacked = as_samples(stacked, "curves", "n t")
    return Curve(stacked.mean(axis=0), stacked.std(axis=0), len(stacked))
