"""A shelf of toy models, one of each family, in the place of the shipped ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1] / family) for family in ("tats", "recall")]

from longtake import models
from longtake.studio.generation import Workshop
from longtake.studio.shelf import Shelf


@pytest.fixture(scope="session")
def weights(build_glober, tmp_path_factory) -> Path:
    """Pipeline folders "glober", "recall" and "tats"."""
    import toy_sampling
    import toy_transformers

    folder = tmp_path_factory.mktemp("weights")
    build_glober(description="a tiny model", endless=True).save_pretrained(folder / "glober")
    toy_sampling.pipeline("r3").save_pretrained(folder / "recall")
    toy_transformers.pipeline().save_pretrained(folder / "tats")
    (folder / "glober" / "README.md").write_text("# Tiny\n\nSee [the code](../code.md) and [this](https://a.b).")
    return folder


@pytest.fixture
def shelf(weights, monkeypatch) -> Shelf:
    monkeypatch.setattr(models, "WEIGHTS", weights)
    return Shelf(device="cpu")


@pytest.fixture
def workshop(shelf, tmp_path) -> Workshop:
    folder = tmp_path / "made"
    folder.mkdir()
    return Workshop(shelf, folder)


@pytest.fixture
def first_clip(tmp_path) -> Path:
    """A video file of 40 frames of noise."""
    file = tmp_path / "clip.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8))
    return file
