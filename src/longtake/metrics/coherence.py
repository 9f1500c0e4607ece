"""Does a long video keep showing its first class? CCS and ICS of TATS (Ge et al. 2022, section 4), per segment.

A video is cut into s segments of 16 frames that do not overlap, and a video classifier (C3D on UCF-101) gives each its
class probabilities. Every function takes all of them, (n, s, k), and returns one number for each segment; segment 0
is compared with itself. The paper's code for these was not released and its divergence is not symmetric, so both
directions are offered, each under its own name.
"""

from __future__ import annotations

import numpy as np
from einops import rearrange
from jaxtyping import Float
from numpy.typing import ArrayLike

from longtake.metrics.samples import as_probabilities

SMALLEST_PROBABILITY = 1e-12  # a class the softmax rounded to 0 would make a divergence infinite


def ccs(probabilities: ArrayLike) -> Float[np.ndarray, " s"]:
    """Class coherence score: the share of videos whose likeliest class in segment t is that of segment 0.

    Takes (n, s, k); raises `UserError` for another shape, NaN or values that are no probabilities.
    """
    classes = as_probabilities(probabilities, "n s k").argmax(axis=-1)
    return (classes == classes[:, :1]).mean(axis=0)


def ics_kl_t_0(probabilities: ArrayLike) -> Float[np.ndarray, " s"]:
    """Inception coherence score, mean over videos of KL(p_t || p_0): how surprising segment t is after segment 0.

    Takes (n, s, k), clips each probability at 1e-12 and renormalises; low is coherent. Errors as in `ccs`.
    """
    segments = positive(probabilities)
    return mean_divergence(segments, segments[:, :1])


def ics_kl_0_t(probabilities: ArrayLike) -> Float[np.ndarray, " s"]:
    """Inception coherence score in the other direction, mean over videos of KL(p_0 || p_t); else as `ics_kl_t_0`."""
    segments = positive(probabilities)
    return mean_divergence(segments[:, :1], segments)


def first_class_probability(probabilities: ArrayLike) -> Float[np.ndarray, " s"]:
    """Mean over videos of the probability that segment t gives to the likeliest class of segment 0.

    Takes (n, s, k) as it is, not clipped. Errors as in `ccs`.
    """
    segments = as_probabilities(probabilities, "n s k")
    first_class = rearrange(segments[:, 0].argmax(axis=-1), "n -> n 1 1")
    return np.take_along_axis(segments, first_class, axis=-1).mean(axis=(0, 2))


def positive(probabilities: ArrayLike) -> Float[np.ndarray, "n s k"]:
    """Checked probabilities, none below 1e-12, that sum to 1."""
    clipped = as_probabilities(probabilities, "n s k").clip(min=SMALLEST_PROBABILITY)
    return clipped / clipped.sum(axis=-1, keepdims=True)


def mean_divergence(p: Float[np.ndarray, "n s k"], q: Float[np.ndarray, "n s k"]) -> Float[np.ndarray, " s"]:
    """Mean over videos of KL(p || q)."""
    return (p * (np.log(p) - np.log(q))).sum(axis=-1).mean(axis=0)
