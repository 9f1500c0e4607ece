"""The two sides of a comparison, real and fake: a folder of videos or a file of features, asked in the same way.

What a measure needs of a side has a name: a key of `Side.data`, filled by `prepare`.

    features               (m, n, d)  of the clips of each of m trials
    moments                           features, or their statistics where a file has no more
    probabilities          (n, k)     class probabilities of the clips of the first trial
    segments               (n, s, d)  features of the segments of the same videos, from their first frame on
    segment_probabilities  (n, s, k)
    clip_lengths           (n, 2, d)  features of a short and of a long clip of the same videos
    changes                (n, 3)     flickering, joint and per-channel colour correlation of whole videos
    perceptual             (n, 1)     LPIPS of first and last frame of whole videos
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped

from longtake.core.errors import UserError
from longtake.metrics.evaluation.feature_files import SUFFIX, Statistics

Need = Literal[
    "features", "moments", "probabilities", "segments", "segment_probabilities", "clip_lengths", "changes", "perceptual"
]
OF_NETWORK: tuple[Need, ...] = (
    "features", "moments", "probabilities", "segments", "segment_probabilities", "clip_lengths",
)  # fmt: skip


class Side(ABC):
    """Real or fake.

    Attributes:
        data: what was prepared, by need.
    """

    data: dict[str, Shaped[np.ndarray, "n ..."]]

    @property
    @abstractmethod
    def name(self) -> str:
        """The folder or file as the user named it."""

    @property
    @abstractmethod
    def count(self) -> int | None:
        """Clips per trial; None if a file of statistics does not say."""

    def count_for(self, _need: Need) -> int | None:
        """Clips that a measure is made of if it needs this; None if a file of statistics does not say."""
        return self.count

    @property
    def shortage(self) -> str:
        """Why there are fewer clips than videos, to follow their number in a message; empty if there are not."""
        return ""

    @property
    def statistics(self) -> Statistics | None:
        """Mean and covariance, where there are no features."""
        return None

    @abstractmethod
    def lacks(self, need: Need) -> str | None:
        """Return why `need` cannot be had, or None if it can."""

    @abstractmethod
    def prepare(self, need: Need) -> None:
        """Fill `data[need]`. Raises `BrokenVideosError` for those that do not decode."""

    @property
    @abstractmethod
    def conditions(self) -> Mapping[str, Any]:
        """N, T, stride and the like, for the report."""

    @property
    @abstractmethod
    def network(self) -> Mapping[str, Any]:
        """What made the features, as far as known: features (a name), kind, weights_sha256, resize."""


def check_video_options(real: Path, fake: Path, options: Mapping[str, object]) -> None:
    """Raise `UserError` if one of `options`, by name, is given where both sides are files: it is about videos."""
    if not (is_feature_file(real) and is_feature_file(fake)):
        return
    for name, value in options.items():
        if value is not None:
            option = name.replace("_", "-")
            raise UserError(f"--{option} is for videos, but both sides are files of features: leave out {name}")


def is_feature_file(source: Path) -> bool:
    """Whether a side is a file of features."""
    if source.suffix.lower() == SUFFIX:
        return True
    if source.is_file():
        raise UserError(f"{source} is neither a folder of videos nor a .npz file of features")
    return False
