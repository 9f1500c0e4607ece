"""Frechet distance between the Gaussians that two sets of features suggest (Dowson & Landau 1982; Heusel et al. 2017).

    FD = |mu_x - mu_y|^2 + tr S_x + tr S_y - 2 tr (S_x S_y)^(1/2)

Write S_x = A^T A and S_y = B^T B. Then S_x S_y has the eigenvalues of (A B^T)(A B^T)^T, hence
tr (S_x S_y)^(1/2) = |A B^T|_*, the sum of the singular values. With A and B the centred features over sqrt(n - ddof) no
matrix root and no covariance is needed, and the value is exact also where n <= d and the covariances are singular.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.metrics.samples import as_feature_sets, as_samples, refuse_unequal

DDOF_BY_PROTOCOL: Mapping[str, int] = MappingProxyType(
    {"tats": 1, "digan": 1, "g3an": 1, "styleganv": 0, "latte": 0, "glober": 0}
)
"""Which covariance a published protocol takes: 1 divides by n - 1, 0 by n."""

MAX_ASYMMETRY = 1e-6  # of a covariance, relative to its largest entry; one saved in float32 stays below
MAX_NEGATIVE = 1e-4  # of an eigenvalue, relative to the largest; float32 sums of uncentred products stay below


class BiasWarning(UserWarning):
    """A number that says more about how few samples there were than about the samples."""


class Gaussian(NamedTuple):
    """Mean (d) and a factor A (r, d) of the covariance A^T A."""

    mean: Float[np.ndarray, " d"]
    factor: Float[np.ndarray, "r d"]


def frechet_distance(x: ArrayLike, y: ArrayLike, ddof: int = 1, *, allow_unequal: bool = False) -> float:
    """Frechet distance of features x (n, d) and y (m, d), exact in float64 and at least 0.

    `ddof` says which covariance: 1 (TATS, DIGAN, pytorch-fid) divides by n - 1, 0 (StyleGAN-V, Latte, GLOBER) by n.
    The value is biased upwards by about c / N, so sets of unequal size are refused unless `allow_unequal`, and a
    `BiasWarning` is given where a set has no more samples than features.
    Raises `UserError` for wrong shapes, fewer than 2 samples, NaN, another ddof, or unequal sets.
    """
    first, second = as_feature_sets(x, y)
    refuse_unequal(len(first), len(second), allow_unequal=allow_unequal)
    warn_of_bias(min(len(first), len(second)), first.shape[1])
    return distance_of_gaussians(gaussian_of_features(first, ddof), gaussian_of_features(second, ddof))


def frechet_distance_from_statistics(
    mean_x: ArrayLike, covariance_x: ArrayLike, mean_y: ArrayLike, covariance_y: ArrayLike
) -> float:
    """Frechet distance from saved means (d) and covariances (d, d); at least 0.

    Each covariance is factorised by `eigh`; eigenvalues within rounding of 0 (below 2e-16 d of the largest) count as 0,
    so that this agrees with `frechet_distance` also where n <= d makes the covariances singular.
    Raises `UserError` for wrong shapes, NaN, or a covariance that is not symmetric and positive semi-definite.
    """
    first, second = gaussian_of_statistics(mean_x, covariance_x), gaussian_of_statistics(mean_y, covariance_y)
    if first.mean.shape != second.mean.shape:
        raise UserError(f"statistics must have the same width, not {len(first.mean)} and {len(second.mean)}")
    return distance_of_gaussians(first, second)


def feature_statistics(x: ArrayLike, ddof: int = 1) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Mean (d) and covariance (d, d) of features (n, d), to save in place of the features; errors as above."""
    features = as_samples(x, "features", "n d", min_samples=2)
    mean = features.mean(axis=0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - known_ddof(ddof))


def bias_note(num_samples: int, num_features: int) -> str | None:
    """Return one line to print beside a Frechet distance where N <= D, else None."""
    if num_samples > num_features:
        return None
    return (
        f"N = {counted(num_samples, 'sample')} for D = {num_features} features: with N <= D the covariances are "
        "singular and the Frechet distance is dominated by its bias (about 1/N); compare it only at the same N"
    )


def warn_of_bias(num_samples: int, num_features: int) -> None:
    """Warn, in the name of the caller's caller, where N <= D."""
    note = bias_note(num_samples, num_features)
    if note:
        warnings.warn(note, BiasWarning, stacklevel=3)


def known_ddof(ddof: int) -> int:
    """Return `ddof` if it is 0 or 1; raises `UserError`."""
    if ddof not in (0, 1):
        raise UserError(f"ddof must be 1 (covariance over n - 1) or 0 (over n), not {ddof!r}")
    return int(ddof)


def gaussian_of_features(features: Float[np.ndarray, "n d"], ddof: int) -> Gaussian:
    """Fit a Gaussian; its factor has at most min(n, d) rows, so that a distance costs one SVD of that size."""
    mean = features.mean(axis=0)
    factor = (features - mean) / np.sqrt(len(features) - known_ddof(ddof))
    if len(factor) > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")  # (QR)^T (QR) = R^T R
    return Gaussian(mean, factor)


def gaussian_of_statistics(mean: ArrayLike, covariance: ArrayLike) -> Gaussian:
    """Factorise a covariance by its eigenvectors; raises `UserError` if it is none."""
    centre, matrix = as_samples(mean, "mean", "d"), as_samples(covariance, "covariance", "d d")
    if matrix.shape != (len(centre), len(centre)):
        raise UserError(
            f"a mean of {counted(len(centre), 'feature')} needs a square covariance of them, not {matrix.shape}"
        )
    if np.abs(matrix - matrix.T).max() > MAX_ASYMMETRY * np.abs(matrix).max():
        raise UserError("a covariance must be symmetric")
    eigenvalues, eigenvectors = np.linalg.eigh((matrix + matrix.T) / 2)
    largest = np.abs(eigenvalues).max()
    if eigenvalues.min() < -MAX_NEGATIVE * largest:
        raise UserError(f"a covariance must have no negative eigenvalues, not {eigenvalues.min():.3g}")
    # below this an eigenvalue is rounding, and its root (1e-8 for 1e-16) would not be small
    kept = eigenvalues > len(centre) * np.finfo(np.float64).eps * largest
    return Gaussian(centre, np.sqrt(eigenvalues[kept])[:, None] * eigenvectors[:, kept].T)


def distance_of_gaussians(first: Gaussian, second: Gaussian) -> float:
    """Frechet distance of two Gaussians by the nuclear norm; rounding below 0 is cut."""
    cross = first.factor @ second.factor.T
    root_trace = np.linalg.svd(cross, compute_uv=False).sum() if cross.size else 0.0
    means = np.square(first.mean - second.mean).sum()
    traces = np.square(first.factor).sum() + np.square(second.factor).sum()
    return max(0.0, float(means + traces - 2 * root_trace))
