"""The folder of the toy models on the path: for tests here and for the processes they start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on the CPU everywhere: tests compare bit for bit."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")


@pytest.fixture(scope="session")
def official() -> Path:
    """The folder with the authors' checkpoints and their outputs."""
    folder = ROOT / os.environ.get("LONGTAKE_FIXTURES", "../shared/fixtures") / "tats"
    if not folder.is_dir():
        pytest.skip(f"no fixtures at {folder}")
    return folder
