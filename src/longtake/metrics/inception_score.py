"""Inception score of class probabilities (Salimans et al. 2016), with the protocols video papers use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from longtake.core.errors import UserError, choose_one_of
from longtake.core.wording import counted
from longtake.metrics.samples import as_probabilities, check_seed


@dataclass(frozen=True)
class InceptionScoreProtocol:
    """How one score comes out of n rows of probabilities; the same rows give 9.04 in 1 split and 8.30 in 10."""

    num_splits: int = 1
    """Split i of s holds rows i n // s to (i + 1) n // s; each is scored against its own marginal."""
    shuffle_seed: int | None = None
    """Seed of `numpy.random.RandomState`, which shuffles the rows before they are split; None keeps their order."""
    eps: float = 0.0
    """Added to a probability before its logarithm; with 0, what is exactly 0 counts as 0 log 0 = 0."""


INCEPTION_SCORE_PROTOCOLS: Mapping[str, InceptionScoreProtocol] = MappingProxyType(
    {
        "tgan": InceptionScoreProtocol(eps=1e-7),
        "tgan2": InceptionScoreProtocol(eps=1e-20),
        "tats": InceptionScoreProtocol(eps=1e-20),
        "styleganv": InceptionScoreProtocol(num_splits=10, shuffle_seed=42),
    }
)
"""By name. TGANv2 scores 2048 samples ten times over and reports mean and deviation of the ten; TATS scores 10,000."""


@dataclass(frozen=True)
class InceptionScore:
    """Mean and (population) standard deviation over the splits, and the two entropies of the whole set, in nats."""

    mean: float
    std: float
    scores: Float[np.ndarray, " s"]
    inter_entropy: float
    """H(y), entropy of the mean of the rows: high where the videos show many classes."""
    intra_entropy: float
    """H(y | x), mean entropy of the rows: low where each video clearly shows one."""


def inception_score(probabilities: ArrayLike, protocol: str | InceptionScoreProtocol = "tgan2") -> InceptionScore:
    """IS = exp(mean_i KL(p(y|x_i) || p(y))) of class probabilities (n, k), per split; between 1 and k.

    In one split without eps it is exp(inter_entropy - intra_entropy). Arithmetic is float64.
    Raises `UserError` for an unknown protocol, rows that are no distributions, NaN, or fewer rows than splits.
    """
    if isinstance(protocol, str):
        choose_one_of("inception score protocol", protocol, INCEPTION_SCORE_PROTOCOLS)
        protocol = INCEPTION_SCORE_PROTOCOLS[protocol]
    if protocol.num_splits < 1:
        raise UserError(f"num_splits must be at least 1, not {protocol.num_splits}")
    if protocol.eps < 0:
        raise UserError(f"eps must be at least 0, not {protocol.eps:g}")
    if protocol.shuffle_seed is not None:
        check_seed(protocol.shuffle_seed)
    rows = as_probabilities(probabilities, "n k")
    num_rows, num_splits = len(rows), protocol.num_splits
    if num_rows < num_splits:
        raise UserError(f"{counted(num_rows, 'video')} cannot make {counted(num_splits, 'split')}")
    inter, intra = entropy(rows.mean(axis=0)), entropy(rows).mean()
    if protocol.shuffle_seed is not None:
        rows = rows[np.random.RandomState(protocol.shuffle_seed).permutation(num_rows)]
    scores = np.array(
        [
            score_of_split(rows[i * num_rows // num_splits : (i + 1) * num_rows // num_splits], protocol.eps)
            for i in range(num_splits)
        ]
    )
    return InceptionScore(float(scores.mean()), float(scores.std()), scores, float(inter), float(intra))


def score_of_split(rows: Float[np.ndarray, "n k"], eps: float) -> float:
    """exp of the mean divergence of the rows from their mean."""
    ratios = logarithm(rows + eps) - logarithm(rows.mean(axis=0) + eps)
    return float(np.exp((rows * ratios).sum(axis=1).mean()))


def entropy(probabilities: Float[np.ndarray, "*n k"]) -> Float[np.ndarray, "*n"]:
    """Entropy over the last axis in nats."""
    return -(probabilities * logarithm(probabilities)).sum(axis=-1)


def logarithm(values: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Natural logarithm, 0 for what is not positive: it is multiplied with a probability of 0."""
    return np.log(values, out=np.zeros_like(values), where=values > 0)
