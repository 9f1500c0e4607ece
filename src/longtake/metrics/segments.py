"""Frechet distance as a long video goes on: each segment of the fakes against one fixed set of real clips."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from longtake.core.errors import UserError
from longtake.metrics.frechet import distance_of_gaussians, gaussian_of_features, warn_of_bias
from longtake.metrics.samples import as_feature_sets, as_samples, refuse_unequal


def frechet_distance_by_segment(
    real: ArrayLike, fake: ArrayLike, ddof: int = 1, *, allow_unequal: bool = False
) -> Float[np.ndarray, " s"]:
    """Frechet distance of each segment t of the fakes, fake[:, t] of (n, s, d), from real clips (n, d).

    As TATS's long-video curve: segments are 16 frames each and do not overlap, the real statistics are the same for
    every t, and so is N. Bias, `ddof`, `allow_unequal` and errors are those of `frechet_distance`.
    """
    segments = as_samples(fake, "features of fake segments", "n s d", min_samples=2)
    reals, _ = as_feature_sets(real, segments[:, 0])
    refuse_unequal(len(reals), len(segments), allow_unequal=allow_unequal)
    warn_of_bias(min(len(reals), len(segments)), reals.shape[1])
    gaussian = gaussian_of_features(reals, ddof)
    return np.array(
        [distance_of_gaussians(gaussian, gaussian_of_features(segments[:, t], ddof)) for t in range(segments.shape[1])]
    )


def relative_to_first(curve: ArrayLike) -> Float[np.ndarray, " s"]:
    """A curve over its first value, FVD_t / FVD_0: how much worse than its own start a long video becomes.

    Raises `UserError` for NaN, an empty curve, or one that starts at 0.
    """
    values = as_samples(curve, "a curve", "s", min_samples=1)
    if values[0] == 0:
        raise UserError("a curve that starts at 0 has no ratio to its start")
    return values / values[0]
