"""The official networks' stand-in weights, written to files of the published forms."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

FIXTURES = Path(os.environ.get("LONGTAKE_FIXTURES", Path(__file__).parents[3] / "../shared/fixtures")) / "metrics"


@pytest.fixture(autouse=True)
def no_weights_around(monkeypatch, tmp_path):
    """Whoever runs the tests may have weights: look nowhere but in an empty cache."""
    for variable in ("LONGTAKE_I3D", "LONGTAKE_RESNEXT3D", "LONGTAKE_C3D"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LONGTAKE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def pseudo_tensor():
    """The fixture's function (key, shape) -> array."""
    if not FIXTURES.is_dir():
        pytest.skip(f"no fixtures in {FIXTURES}")
    spec = importlib.util.spec_from_file_location("pseudo_weights", FIXTURES / "pseudo_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pseudo_tensor


@pytest.fixture(scope="session")
def official_keys(pseudo_tensor):
    """Network -> {official key: shape}."""
    i3d = json.loads((FIXTURES / "i3d_keys.json").read_text())["keys"]
    resnext = json.loads((FIXTURES / "resnext101_keys.json").read_text())
    return {
        name: {entry["key"]: tuple(entry["shape"]) for entry in entries}
        for name, entries in (("i3d", i3d), ("resnext3d", resnext))
    }


@pytest.fixture(scope="session")
def i3d_file(official_keys, pseudo_tensor, tmp_path_factory):
    """As published: a plain dictionary without BatchNorm's counters."""
    path = tmp_path_factory.mktemp("i3d") / "i3d_pretrained_400.pt"
    keys = {key: shape for key, shape in official_keys["i3d"].items() if not key.endswith("num_batches_tracked")}
    torch.save({key: torch.from_numpy(pseudo_tensor(key, shape)) for key, shape in keys.items()}, path)
    return path


@pytest.fixture(scope="session")
def resnext_file(official_keys, pseudo_tensor, tmp_path_factory):
    """As published: a training checkpoint of a network that was wrapped to train on several GPUs."""
    path = tmp_path_factory.mktemp("resnext") / "resnext-101-kinetics.pth"
    weights = {
        f"module.{key}": torch.from_numpy(np.asarray(pseudo_tensor(key, shape)))
        for key, shape in official_keys["resnext3d"].items()
    }
    torch.save({"epoch": 1, "arch": "resnext-101", "state_dict": weights, "optimizer": {"state": {}}}, path)
    return path


@pytest.fixture(scope="session")
def mean_video():
    """A mean video in the published form, larger than the network's input."""
    return np.random.default_rng(0).uniform(80, 120, (3, 16, 128, 171)).astype(np.float32)


@pytest.fixture(scope="session")
def c3d_file(pseudo_tensor, mean_video, tmp_path_factory):
    """As published: an npz of Chainer's names, with the mean video beside it."""
    folder = tmp_path_factory.mktemp("c3d")
    widths = {"conv1a": (3, 64), "conv2a": (64, 128), "conv3a": (128, 256), "conv3b": (256, 256)}
    widths |= {"conv4a": (256, 512), "conv4b": (512, 512), "conv5a": (512, 512), "conv5b": (512, 512)}
    shapes = {name: (wide, narrow, 3, 3, 3) for name, (narrow, wide) in widths.items()}
    shapes |= {"fc6": (4096, 8192), "fc7": (4096, 4096), "fc8": (101, 4096)}
    arrays = {f"{name}/W": pseudo_tensor(f"{name}.weight", shape) for name, shape in shapes.items()}
    arrays |= {f"{name}/b": pseudo_tensor(f"{name}.bias", shape[:1]) for name, shape in shapes.items()}
    np.savez(folder / "conv3d_deepnetA_ucf.npz", **arrays)
    np.savez(folder / "mean2.npz", mean=mean_video)
    return folder / "conv3d_deepnetA_ucf.npz"
