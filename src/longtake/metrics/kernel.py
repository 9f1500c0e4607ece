"""Maximum mean discrepancy of features under polynomial kernels: KVD, its subset form, and JEDi's form.

MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),    k(a, b) = (a.b / d + coef0)^degree
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from longtake.core.errors import UserError
from longtake.metrics.samples import as_feature_sets, check_seed, refuse_unequal

ROWS_AT_ONCE = 1024  # bounds memory: the kernel of ten thousand samples would be 800 MB


def kernel_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Kernel video distance of features x (n, d) and y (m, d) as TATS and DIGAN compute it.

    Unbiased MMD^2 (pairs of a sample with itself left out) under (a.b / d + 1)^3 on the whole sets, in float64.
    Being unbiased it may be negative, also for two identical sets, and n may differ from m.
    Source: Binkowski et al. 2018; Unterthiner et al. 2018. Raises `UserError` for wrong shapes, too few samples, NaN,
    and features so large that their kernel is infinite.
    """
    return unbiased_mmd(*as_feature_sets(x, y))


def kernel_distance_subsets(
    x: ArrayLike, y: ArrayLike, *, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> float:
    """The subset form of StyleGAN's and StyleGAN-V's KID: 1000 times the mean of `kernel_distance` over random subsets.

    Each subset takes min(subset_size, n, m) of the fakes y, then as many of the reals x, without replacement.
    The draws are those of `numpy.random.RandomState(seed)`, so that they equal the official tool's.
    Its mean is that of the whole-set form; only the scale of 1000 differs. Errors as in `kernel_distance`, and for a
    seed outside 0 .. 2^32 - 1.
    """
    if num_subsets < 1 or subset_size < 2:
        raise UserError(f"at least 1 subset of 2 samples is needed, not {num_subsets} of {subset_size}")
    real, fake = as_feature_sets(x, y)
    check_seed(seed)
    size = min(subset_size, len(real), len(fake))
    rng = np.random.RandomState(seed)
    distances = []
    for _ in range(num_subsets):
        some_fake = fake[rng.choice(len(fake), size, replace=False)]
        some_real = real[rng.choice(len(real), size, replace=False)]
        distances.append(unbiased_mmd(some_real, some_fake))
    return 1000 * float(np.mean(distances))


def jedi_distance(x: ArrayLike, y: ArrayLike, *, allow_unequal: bool = False) -> float:
    """JEDi's distance of features x (n, d) and y (m, d): 100 times the biased MMD^2 under (a.b / d)^2.

    Pairs of a sample with itself stay in, so the value is 0 for identical sets, never negative, and depends on N:
    sets of unequal size are refused unless `allow_unequal`. JEDi proper takes V-JEPA features of 5000 videos.
    Source: Luo et al. 2024. Raises `UserError` for wrong shapes, no samples, NaN, or unequal sets.
    """
    first, second = as_feature_sets(x, y, min_samples=1)
    refuse_unequal(len(first), len(second), allow_unequal=allow_unequal)
    within = sum(kernel_sums(each, each, 2, 0)[0] / len(each) ** 2 for each in (first, second))
    between = kernel_sums(first, second, 2, 0)[0] / (len(first) * len(second))
    return max(0.0, 100 * (within - 2 * between))


def unbiased_mmd(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """MMD^2 under (a.b / d + 1)^3 without the pairs of a sample with itself."""
    within = 0.0
    for each in (x, y):
        total, diagonal = kernel_sums(each, each, 3, 1)
        within += (total - diagonal) / (len(each) * (len(each) - 1))
    return within - 2 * kernel_sums(x, y, 3, 1)[0] / (len(x) * len(y))


def kernel_sums(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"], degree: int, coef0: float
) -> tuple[float, float]:
    """Sum of (a.b / d + coef0)^degree over all pairs, and over the pairs of equal index.

    Raises `UserError` where it is more than a double can hold.
    """
    total = 0.0
    num_equal = min(len(x), len(y))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(x), ROWS_AT_ONCE):
            total += float(((x[start : start + ROWS_AT_ONCE] @ y.T / x.shape[1] + coef0) ** degree).sum())
        products = np.einsum("nd,nd->n", x[:num_equal], y[:num_equal]) / x.shape[1]
        equal = float(((products + coef0) ** degree).sum())
    if not np.isfinite((total, equal)).all():
        largest = max(np.abs(x).max(), np.abs(y).max())
        raise UserError(f"features reach {largest:.3g}, and a kernel of them is more than a double can hold")
    return total, equal
