"""Confidence intervals by resampling videos (Efron & Tibshirani 1993)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Shaped
from numpy.typing import ArrayLike

from longtake.core.errors import UserError
from longtake.metrics.samples import as_array, check_seed


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval."""

    value: float
    """The statistic of the samples as they are."""
    low: float
    high: float
    std: float
    """Standard deviation of the resampled values."""
    bias: float
    """Mean of the resampled values, less `value`: what drawing the same video twice adds."""
    confidence: float
    num_resamples: int

    def within(self, least: float, most: float) -> Interval:
        """Return the part of the interval from `least` to `most`, between which the statistic always lies.

        The truth lies there as well, so that what is cut off never held it: the shorter interval holds it just as
        often.
        """
        return replace(self, low=min(max(self.low, least), most), high=min(max(self.high, least), most))


def bootstrap_interval(
    statistic: Callable[..., float],
    *samples: ArrayLike,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
    paired: bool = False,
) -> Interval:
    """Confidence interval of `statistic(*samples)` at this number of samples.

    Each resample draws as many rows of each array (n, ...) with replacement, from `seed`; `paired` draws the same rows
    of all (a PSNR of real and fake), otherwise the sets are drawn apart (real and fake features). The quantiles are
    shifted by the mean of the resamples onto `value`: a Frechet distance or MMD of a resample is larger because rows
    repeat, and its plain quantiles need not even hold the value. For a mean the shift is nothing. The shift may carry
    the lower bound of a small Frechet distance below 0, where none can be: `Interval.within` cuts that off.
    The interval says how much the number moves with the draw of videos at the same N; the statistic's own bias at that
    N is not in it. With few rows intervals come out a little narrow: one of 80 % for the mean of 30 rows holds the
    truth 77 % of the time.
    Raises `UserError` for fewer than 2 rows, paired arrays of unequal length, NaN, or bad settings.
    """
    if not 0 < confidence < 1:
        raise UserError(f"confidence must lie between 0 and 1, not {confidence}")
    if num_resamples < 2:
        raise UserError(f"at least 2 resamples are needed, not {num_resamples}")
    check_seed(seed)
    arrays = [as_array(sample, "samples", "n ...") for sample in samples]
    if not arrays or any(array.ndim == 0 or len(array) < 2 for array in arrays):
        raise UserError("a bootstrap needs arrays of at least 2 samples")
    if paired and len({len(array) for array in arrays}) > 1:
        raise UserError(f"paired samples must be equally many, not {' and '.join(str(len(array)) for array in arrays)}")
    rng = np.random.default_rng(seed)
    value = float(statistic(*arrays))
    resampled = np.array([statistic(*draw(arrays, rng, paired=paired)) for _ in range(num_resamples)], dtype=np.float64)
    if not np.isfinite([value, *resampled]).all():
        raise UserError("the statistic must be finite for every resample")
    bias = float(resampled.mean() - value)
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2]) - bias
    return Interval(value, float(low), float(high), float(resampled.std(ddof=1)), bias, confidence, num_resamples)


def draw(
    arrays: list[Shaped[np.ndarray, "n ..."]], rng: np.random.Generator, *, paired: bool
) -> list[Shaped[np.ndarray, "n ..."]]:
    """As many rows of each array, with replacement."""
    if paired:
        rows = rng.integers(0, len(arrays[0]), len(arrays[0]))
        return [array[rows] for array in arrays]
    return [array[rng.integers(0, len(array), len(array))] for array in arrays]
