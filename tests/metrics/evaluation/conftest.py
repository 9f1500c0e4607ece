"""Small folders of videos, a toy network, and a feature cache of their own for every test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toy_evaluation import ToyNetwork, write_bars, write_noise


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Keep features in the test's own folder."""
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def network() -> ToyNetwork:
    return ToyNetwork()


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Two halves of one set of moving bars, noise, and bars of many lengths; 12 frames of 16 x 16 unless said."""
    root = tmp_path_factory.mktemp("videos")
    mixed = write_bars(root / "mixed", range(3), num_frames=3)
    write_bars(mixed, range(3, 8), num_frames=9)
    return {
        "a": write_bars(root / "a", range(16)),
        "b": write_bars(root / "b", range(16, 32)),
        "noise": write_noise(root / "noise", 16),
        "mixed": mixed,
    }
