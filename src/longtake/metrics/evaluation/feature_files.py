"""Features and their statistics in .npz files: read without running anything, written with where they come from.

Keys (at least one of the first five, or mu with sigma):

    features               (n, d)     one row per clip
    probabilities          (n, k)     class probabilities of the same clips
    segments               (n, s, d)  features of the segments of n long videos, in order
    segment_probabilities  (n, s, k)
    mu, sigma, n           (d), (d, d), ()  mean, covariance and number of clips in place of their features
    provenance             ()         JSON text: features, kind, weights_sha256, frames, stride, resize, ddof, ...
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.core.npy_files import read_arrays
from longtake.metrics.frechet import gaussian_of_statistics
from longtake.metrics.samples import as_probabilities, as_samples

SUFFIX = ".npz"
DAMAGES = (
    *(OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error),
    TypeError,  # a single array instead of an archive
    MemoryError,  # a header that promises more than there is
)
OF_MAKER = ("features", "kind", "weights_sha256", "resize")  # provenance: what made the features
ARRAYS = {"features": "n d", "probabilities": "n k", "segments": "n s d", "segment_probabilities": "n s k"}


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of features in their place.

    Attributes:
        mu: mean (d).
        sigma: covariance (d, d).
        n: of how many clips; None if the file does not say.
        ddof: which covariance it is; None if the file does not say.
    """

    mu: Float[np.ndarray, " d"]
    sigma: Float[np.ndarray, "d d"]
    n: int | None
    ddof: int | None

    def covariance(self, ddof: int) -> Float[np.ndarray, "d d"]:
        """Return the covariance over n - ddof, converted if the file's is the other and says so."""
        if self.n is None or self.ddof is None or self.ddof == ddof:
            return self.sigma
        return self.sigma * ((self.n - self.ddof) / (self.n - ddof))


@dataclass(frozen=True)
class FeatureFile:
    """What a feature file holds.

    Attributes:
        path: the file.
        arrays: those of `ARRAYS` that are in it.
        statistics: mean and covariance, if they are in it.
        provenance: where the features come from; empty if the file does not say.
    """

    path: Path
    arrays: Mapping[str, Shaped[np.ndarray, "n ..."]]
    statistics: Statistics | None
    provenance: Mapping[str, Any]


def read_feature_file(path: Path) -> FeatureFile:
    """Read and check a feature file. Raises `UserError` if it is damaged, or does not hold what the keys promise."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such feature file")
    try:
        content = read_arrays(path)
    except DAMAGES as error:
        raise UserError(f"{path} is no feature file, or is damaged: {reason(error)}") from error
    arrays = {name: checked(path, name, content[name]) for name in ARRAYS if name in content}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"{path}: all arrays must have as many rows: {counts}")
    provenance = read_provenance(path, content)
    statistics = read_statistics(path, content, provenance)
    if not arrays and statistics is None:
        raise UserError(f"{path} holds {', '.join(content) or 'nothing'} (known: {', '.join(ARRAYS)}, mu with sigma)")
    return FeatureFile(path, arrays, statistics, provenance)


def reason(error: Exception) -> str:
    """Return what numpy says on one line; for what it takes for pickled objects, without its advice to run them."""
    text = " ".join(str(error).split())
    if "pickle" in text or isinstance(error, TypeError):
        return "it is no .npz archive of plain arrays, as numpy.savez writes; nothing in it was run"
    return text


def write_feature_file(
    path: Path,
    arrays: Mapping[str, Shaped[np.ndarray, "n ..."]],
    statistics: Statistics | None,
    provenance: Mapping[str, Any],
) -> None:
    """Write a feature file, whole or not at all."""
    content: dict[str, Any] = {**arrays, "provenance": np.array(json.dumps(dict(provenance)))}
    if statistics is not None:
        content |= {"mu": statistics.mu, "sigma": statistics.sigma, "n": np.array(statistics.n)}
    with atomic_path(path) as partial:
        np.savez(partial, **content)


def checked(path: Path, name: str, values: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "n ..."]:
    """Return the array as it is stored if it is what its name says; raises `UserError`."""
    try:
        if name.endswith("probabilities"):
            as_probabilities(values, ARRAYS[name])
        else:
            as_samples(values, name, ARRAYS[name])
    except UserError as error:
        raise UserError(f"{path}, {name}: {error}") from error
    return values


def read_provenance(path: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the JSON object under `provenance`, empty without one."""
    if "provenance" not in content:
        return {}
    try:
        provenance = json.loads(str(content["provenance"]), parse_constant=refuse_constant)
    except ValueError as error:
        raise UserError(f"{path}: provenance must be JSON text") from error
    if not isinstance(provenance, dict):
        raise UserError(f"{path}: provenance must be a JSON object, not {type(provenance).__name__}")
    for name in OF_MAKER:
        if not isinstance(provenance.get(name, ""), str):
            raise UserError(f"{path}: {name} in the provenance must be text, not {provenance[name]!r}")
    return provenance


def refuse_constant(name: str) -> None:
    """Raise `ValueError` for NaN and Infinity, which are no JSON: a report with them could not be read elsewhere."""
    raise ValueError(f"{name} is no JSON")


def read_statistics(path: Path, content: Mapping[str, Any], provenance: Mapping[str, Any]) -> Statistics | None:
    """Return mean and covariance if both are there; raises `UserError` if they are none."""
    if "mu" not in content or "sigma" not in content:
        return None
    try:
        mu, sigma = as_samples(content["mu"], "mu", "d"), as_samples(content["sigma"], "sigma", "d d")
        gaussian_of_statistics(mu, sigma)  # what is wrong is said before anything is computed
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    n = read_count(path, content["n"]) if "n" in content else None
    ddof = provenance.get("ddof")
    return Statistics(mu, sigma, n, ddof if ddof in (0, 1) else None)


def read_count(path: Path, value: Shaped[np.ndarray, ""]) -> int:
    """Return the number of clips that a covariance is of."""
    if value.size != 1 or value.dtype.kind not in "iuf" or value.item() % 1 != 0:
        raise UserError(f"{path}: n must be a whole number, not {value}")
    if value.item() < 2:
        raise UserError(f"{path}: n = {value}, but a covariance is that of 2 clips at least")
    return int(value.item())
