"""Frechet distance extrapolated to infinitely many samples (Chong & Forsyth 2020, "Effectively unbiased FID")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from longtake.core.errors import UserError
from longtake.metrics.frechet import distance_of_gaussians, gaussian_of_features, warn_of_bias
from longtake.metrics.samples import as_feature_sets, check_seed

MIN_SAMPLES = 8  # so that a quarter of them still has a covariance


@dataclass(frozen=True)
class Extrapolation:
    """A line FD(N) = value + slope / N and the points it was fitted to."""

    value: float
    """The distance at infinite N. An estimate: it can fall below 0 where the true distance is about 0."""
    slope: float
    sizes: Int[np.ndarray, " s"]
    distances: Float[np.ndarray, " s"]


def frechet_distance_infinite(
    x: ArrayLike, y: ArrayLike, ddof: int = 1, *, num_sizes: int = 15, seed: int = 0
) -> Extrapolation:
    """Fit Frechet distances of ever larger subsets of x (n, d) and y (m, d) against 1 / N and take the intercept.

    `num_sizes` sizes lie evenly between a quarter of the smaller set and all of it; each takes that many samples of
    both sets without replacement, drawn from `seed` (the paper shrinks only the generated set). As both sides always
    have the same N, n and m may differ. A `BiasWarning` is given where the smallest subset has no more samples than
    features, since the bias is not yet a line there.
    Raises `UserError` for wrong shapes, fewer than 8 samples, NaN, another ddof, fewer than 2 sizes, or a seed outside
    0 .. 2^32 - 1.
    """
    if num_sizes < 2:
        raise UserError(f"a line needs at least 2 sizes, not {num_sizes}")
    check_seed(seed)
    first, second = as_feature_sets(x, y, MIN_SAMPLES)
    largest = min(len(first), len(second))
    sizes = np.unique(np.linspace(largest // 4, largest, num_sizes).round().astype(np.int64))
    warn_of_bias(int(sizes[0]), first.shape[1])
    rng = np.random.default_rng(seed)
    distances = np.array(
        [
            distance_of_gaussians(
                *(
                    gaussian_of_features(features[rng.choice(len(features), size, replace=False)], ddof)
                    for features in (first, second)
                )
            )
            for size in sizes
        ]
    )
    slope, value = np.polyfit(1 / sizes, distances, 1)
    return Extrapolation(float(value), float(slope), sizes, distances)
