"""Makes the toy stages importable, for tests here and for the processes they start."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from longtake.training.reporter import Reporter

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def reporter() -> Reporter:
    """A reporter whose text is `reporter.console.file.getvalue()`."""
    return Reporter(Console(file=io.StringIO(), width=200))


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests compare bit for bit, so they run on the CPU everywhere."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
