"""Toy pipelines of each family in folders, toy videos and a toy feature network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "recall"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tats"))
sys.path.insert(0, str(Path(__file__).parents[1] / "metrics" / "evaluation"))

import toy_sampling
import toy_transformers
from toy_evaluation import ToyNetwork, write_bars

from longtake.benchmarking import bench, compare, samples

FRAMES = 12


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep features in the test's own folder."""
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def network(monkeypatch) -> ToyNetwork:
    """The feature network, whatever is asked for."""
    network = ToyNetwork()
    monkeypatch.setattr(compare, "load_features", lambda *_, **__: network)
    return network


@pytest.fixture
def in_this_process(monkeypatch) -> None:
    """Do in this process what is done in one of its own: a new one takes seconds to import torch."""
    for module in (bench, samples):
        monkeypatch.setattr(module, "in_own_process", lambda work, *arguments, hear: work(hear, *arguments))


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory, build_glober) -> dict[str, Path]:
    """A random model of each family, a GLOBER of 8 frames at most among them, and its run folder."""
    root = tmp_path_factory.mktemp("models")
    pipes = {
        "glober": build_glober(endless=True),
        "short": build_glober(),
        "tats": toy_transformers.pipeline(),
        "r3": toy_sampling.pipeline(),
        "r2": toy_sampling.pipeline("r2"),
    }
    for name, pipe in pipes.items():
        pipe.save_pretrained(root / name / "model")
        (root / name / "config.json").write_text("{}")
    return {name: root / name for name in pipes}


@pytest.fixture(scope="session")
def real(tmp_path_factory) -> Path:
    """Ten real videos of 12 frames."""
    return write_bars(tmp_path_factory.mktemp("real"), range(10), num_frames=FRAMES)
