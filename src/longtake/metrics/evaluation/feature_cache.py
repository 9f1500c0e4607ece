"""Features that were computed before, on disk: what a network made of which frames of which file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.core.npy_files import read_arrays
from longtake.metrics.evaluation.clip_list import Clip
from longtake.metrics.evaluation.feature_files import DAMAGES, SUFFIX

logger = logging.getLogger(__name__)

Output = Literal["features", "probabilities"]


def cache_folder() -> Path:
    """Return features/ in $LONGTAKE_CACHE, or in ~/.cache/longtake."""
    return Path(os.environ.get("LONGTAKE_CACHE") or Path.home() / ".cache" / "longtake") / "features"


@dataclass(frozen=True)
class FeatureCache:
    """One small file per video, under a key of all that its features depend on.

    Attributes:
        network: name of the network.
        sha256: of its weights.
        resize: how it makes frames square.
        output: which of its outputs.
    """

    network: str
    sha256: str
    resize: str
    output: Output

    def read(self, path: Path, clips: Sequence[Clip]) -> Float32[np.ndarray, "s d"] | None:
        """Return the features of the clips of the video at `path`, or None if they are not there, or damaged."""
        try:
            rows: Float32[np.ndarray, "s d"] = read_arrays(self._file(path, clips))["rows"]  # zip: it has checksums
        except DAMAGES:
            return None
        return rows

    def write(self, path: Path, clips: Sequence[Clip], rows: Float32[np.ndarray, "s d"]) -> None:
        """Keep the features of the clips of one video; where the cache cannot be written, only warn of it."""
        try:
            with atomic_path(self._file(path, clips)) as partial:
                np.savez(partial, rows=rows)
        except (OSError, UserError):
            warn_of_unwritable(cache_folder())

    def _file(self, path: Path, clips: Sequence[Clip]) -> Path:
        key = {**asdict(self), "video": identity(path), "clips": [asdict(clip) | {"file": ""} for clip in clips]}
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return cache_folder() / name[:2] / f"{name}{SUFFIX}"


@cache  # once, not for every video
def warn_of_unwritable(folder: Path) -> None:
    """Say that nothing can be kept in the cache."""
    logger.warning(
        "cannot write to the cache %s: features are not kept for another time (LONGTAKE_CACHE names another folder)",
        folder,
    )


def identity(path: Path) -> list[Any]:
    """Return what changes when the video at `path` does: its place, size and time; of a folder, those of its files."""
    path = path.resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    facts = [(file.name, file.stat()) for file in files]
    return [str(path), [[name, stat.st_size, stat.st_mtime_ns] for name, stat in facts]]
