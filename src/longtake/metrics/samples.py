"""What every metric asks of its arrays: the right number of axes, enough samples, finite values, probabilities."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from longtake.core.errors import UserError
from longtake.core.wording import are, counted

SUM_TOLERANCE = 1e-3  # a float16 softmax over a few hundred classes is this far from 1
RANGE_TOLERANCE = 1e-3  # resizing in half precision overshoots by less
LARGEST_SEED = 2**32 - 1
LARGEST = 1e150  # the square of more, summed over features, is infinite


def as_samples(values: ArrayLike, what: str, axes: str, min_samples: int = 1) -> Float[np.ndarray, "n ..."]:
    """Return values as doubles, the first axis counting samples.

    `what` names them and `axes` ("n d") their shape in errors. Raises `UserError` for another number of axes, an empty
    axis, fewer than `min_samples` samples, values that are not numbers, NaN, infinity, or above `LARGEST`.
    """
    array = as_array(values, what, axes)
    if np.iscomplexobj(array):
        raise UserError(f"{what} must be real numbers, not {array.dtype}")
    try:
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what} must be numbers of shape ({axes})") from error
    if array.ndim != len(axes.split()) or 0 in array.shape[1:]:
        raise UserError(f"{what} must have shape ({axes}), not {array.shape}")
    if len(array) < min_samples:
        raise UserError(
            f"{what}: {counted(len(array), 'sample')} {are(len(array))} too few, at least {min_samples} are needed"
        )
    if not np.isfinite(array).all():
        raise UserError(f"{what} must be finite: {np.count_nonzero(~np.isfinite(array))} values are NaN or infinite")
    largest = max(array.max(initial=0), -array.min(initial=0))
    if largest > LARGEST:
        raise UserError(f"{what} reach {largest:.3g}, whose squares are more than a double can hold")
    return array


def as_array(values: ArrayLike, what: str, axes: str) -> Shaped[np.ndarray, "*axes"]:
    """Return values as an array of whatever type they have; raises `UserError` if there is none (ragged lists)."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{what} must be an array of shape ({axes}): {error}") from error


def check_seed(seed: int) -> None:
    """Raise `UserError` for a seed that numpy's generators do not take, old ones (`RandomState`) included."""
    if not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed must be a whole number from 0 to {LARGEST_SEED}, not {seed!r}")


def as_frames(frames: ArrayLike, what: str = "frames") -> Float[np.ndarray, "t h w c"]:
    """Return frames as doubles in [0, 1]: bytes over 255, floats as they are.

    Raises `UserError` as `as_samples` does, and for other types and floats outside [0, 1]: which range is meant cannot
    be guessed from them.
    """
    array = as_array(frames, what, "t h w c")
    values = as_samples(array, what, "t h w c")
    if array.dtype == np.uint8:
        return values / 255
    low, high = values.min(), values.max()
    if array.dtype.kind != "f" or low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise UserError(f"{what} must be uint8 or floats in [0, 1], not {array.dtype} from {low:g} to {high:g}")
    return values


def as_feature_sets(
    x: ArrayLike, y: ArrayLike, min_samples: int = 2
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """Return both sets of features as doubles; raises `UserError` as `as_samples` does, and if their widths differ."""
    first = as_samples(x, "features x", "n d", min_samples)
    second = as_samples(y, "features y", "n d", min_samples)
    if first.shape[1] != second.shape[1]:
        raise UserError(f"features must have the same width, not {first.shape[1]} and {second.shape[1]}")
    return first, second


def as_probabilities(values: ArrayLike, axes: str) -> Float[np.ndarray, "n ... k"]:
    """Return class probabilities as doubles; raises `UserError` where the last axis is not a distribution."""
    array = as_samples(values, "probabilities", axes)
    if array.min(initial=0) < 0 or np.abs(array.sum(axis=-1) - 1).max(initial=0) > SUM_TOLERANCE:
        raise UserError("probabilities must be at least 0 and sum to 1 over the last axis: take the softmax of logits")
    return array


def refuse_unequal(num_x: int, num_y: int, *, allow_unequal: bool) -> None:
    """Raise `UserError` for sets of unequal size unless asked for: what depends on N must be compared at one N."""
    if num_x != num_y and not allow_unequal:
        raise UserError(
            f"the sets hold {num_x} and {num_y} samples and this number depends on N: "
            "use as many of each, or ask for it with allow_unequal=True"
        )
