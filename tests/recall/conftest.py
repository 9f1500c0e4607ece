"""The folder of the toy recipes on the path, and a set of toy videos."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toy_recall import write_index


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on the CPU everywhere: tests compare bit for bit."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    return write_index(tmp_path_factory.mktemp("videos"))
