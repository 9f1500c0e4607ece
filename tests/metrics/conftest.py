"""Arrays and the numbers that the public implementations give for them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

FIXTURES = Path(os.environ.get("LONGTAKE_FIXTURES", Path(__file__).parents[2] / "../shared/fixtures")) / "metrics"


@pytest.fixture(scope="session")
def vectors():
    if not FIXTURES.is_dir():
        pytest.skip(f"no fixtures in {FIXTURES}")
    with np.load(FIXTURES / "vectors.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def expected(vectors):
    return json.loads((FIXTURES / "expected.json").read_text())


@pytest.fixture(scope="session")
def pairs_of_features(vectors, expected):
    """Real and fake features under the names that `expected` has for the pairs; the sizes are in the names."""
    return {name: pair_of_features(name, vectors) for name in expected["fd"] if name != "offset300_fullrank"}


def pair_of_features(name, vectors):
    if name.startswith("fullrank"):
        return vectors["real_fullrank"], vectors["fake_fullrank"]
    if name.startswith("identical"):
        return vectors["real"], vectors["real"]
    if name.startswith("real_first"):
        count = int(name.removeprefix("real_first").split("_")[0])
        return vectors["real"][:count], vectors["fake"]
    return vectors["real"], vectors["fake"]
