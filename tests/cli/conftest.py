"""A recipe, a command line and videos that need no network and no training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from longtake import recipes
from longtake.cli.main import main
from longtake.glober.config import GloberRecipe
from longtake.video import write_video


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def error_line(self):
        """The message of a user's mistake: status 2, one line on stderr, nothing on stdout."""
        assert self.status == 2, self
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("longtake: error: ")
        return self.err.removeprefix("longtake: error: ").strip()


@pytest.fixture
def longtake(capsys) -> Callable[..., Outcome]:
    """Run the command line in this process."""

    def run(*arguments) -> Outcome:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@dataclass(frozen=True)
class TrainCall:
    """What `glober.train.train` was called with."""

    arguments: list = field(default_factory=list)
    options: dict = field(default_factory=dict)


def glober_toy_64() -> GloberRecipe:
    """Toy shapes that move.

    Paper: none. Data: none.
    """
    return GloberRecipe(size=64, span=8, keyframes=(0, 3, 7), condition="label")


@pytest.fixture(autouse=True)
def toy_recipes(monkeypatch):
    """Put one recipe, of the real type, in the place of the shipped ones."""
    monkeypatch.setattr(recipes, "RECIPES", {"glober_toy_64": glober_toy_64})


@pytest.fixture
def train_call(monkeypatch) -> TrainCall:
    """Record the call that would train."""
    from longtake.glober import train

    call = TrainCall()

    def record(*arguments, **options):
        call.arguments.extend(arguments)
        call.options.update(options)

    monkeypatch.setattr(train, "train", record)
    return call


@pytest.fixture
def tiny_model(monkeypatch, glober) -> str:
    """A model's name that loads a random 16x16 pipeline with a span of 8 frames."""
    monkeypatch.setattr("longtake.load", lambda name, device=None: glober)
    return "tiny"


@pytest.fixture
def videos(tmp_path) -> Path:
    """A folder with two classes of moving noise, 10 frames of 24x20."""
    rng = np.random.default_rng(0)
    for name in ("bend/a.mp4", "bend/b.mp4", "walk/a.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, rng.integers(0, 256, (10, 20, 24, 3), dtype=np.uint8), 25)
    return tmp_path / "videos"
