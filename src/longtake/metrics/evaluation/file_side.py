"""A side that is a file of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from longtake.core.randomness import derive_seed
from longtake.metrics.evaluation.feature_files import OF_MAKER, FeatureFile, Statistics
from longtake.metrics.evaluation.sides import OF_NETWORK, Need, Side


@dataclass
class FileSide(Side):
    """Features from a file, or `count` rows of it drawn from the seed."""

    file: FeatureFile
    wanted: int | None
    seed: int
    data: dict[str, Shaped[np.ndarray, "n ..."]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file."""
        return str(self.file.path)

    @property
    def statistics(self) -> Statistics | None:
        """Mean and covariance of a file that has no features."""
        return None if "features" in self.file.arrays else self.file.statistics

    @property
    def count(self) -> int | None:
        """Rows that are used."""
        if self.file.arrays:
            return len(self.rows)
        assert self.file.statistics is not None, "a file has arrays or statistics"
        return self.file.statistics.n

    @cached_property
    def rows(self) -> Int[np.ndarray, " n"]:
        """Which rows are used, ascending."""
        total = len(next(iter(self.file.arrays.values())))
        if self.wanted is None or self.wanted >= total:
            return np.arange(total)
        return np.sort(np.random.default_rng(derive_seed(self.seed, 0)).permutation(total)[: self.wanted])

    def lacks(self, need: Need) -> str | None:
        """Return why `need` cannot be had, or None if it can."""
        if need in self.file.arrays or (need == "moments" and (self.statistics or "features" in self.file.arrays)):
            return None
        if need in OF_NETWORK and need != "clip_lengths":
            return f"{self.name} has no {'features' if need == 'moments' else need}"
        return f"{self.name} holds features, not videos"

    def prepare(self, need: Need) -> None:
        """Fill `data[need]`."""
        if need == "moments":
            if self.statistics is not None:
                return
            need = "features"
        rows = self.file.arrays[need][self.rows]
        self.data[need] = rows[None] if need == "features" else rows

    @property
    def conditions(self) -> Mapping[str, Any]:
        """N, and what the file says of the rest."""
        told = ("frames", "stride", "start", "fps", "resolution", "codecs", "clips_sha256")
        return {"n": self.count} | {name: self.file.provenance.get(name) for name in told}

    @property
    def network(self) -> Mapping[str, Any]:
        """What the file says of what made the features, and how many of them there are."""
        facts = {name: self.file.provenance[name] for name in OF_MAKER if name in self.file.provenance}
        widths = [array.shape[-1] for name, array in self.file.arrays.items() if not name.endswith("probabilities")]
        if self.file.statistics is not None:
            widths.append(len(self.file.statistics.mu))
        return facts | ({"feature_width": widths[0]} if widths else {})
