"""The networks give what the official modules give, with stand-in weights by official key (fixtures)."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
import torch
from einops import repeat

from longtake.core.errors import UserError
from longtake.metrics.networks.features import load_features
from longtake.metrics.networks.i3d import I3D
from longtake.metrics.networks.resnext3d import ResNeXt3D

RELATIVE = 1e-4  # of the largest magnitude


def stored_input(array: np.ndarray, size: int) -> torch.Tensor:
    """Enlarge stored bytes to the network's size: every pixel becomes a square."""
    factor = size // array.shape[-1]
    return torch.from_numpy(repeat(array, "b c t h w -> b c t (h y) (w x)", y=factor, x=factor).astype(np.float32))


def assert_close(found: torch.Tensor, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() <= RELATIVE * np.abs(expected).max()


@pytest.fixture(scope="module")
def i3d(i3d_file):
    return load_features("i3d", weights=i3d_file)


@pytest.fixture(scope="module")
def resnext(resnext_file):
    return load_features("resnext3d", weights=resnext_file)


@pytest.fixture(scope="module")
def c3d(c3d_file):
    return load_features("c3d", weights=c3d_file)


def test_i3d_has_the_official_keys_and_shapes(official_keys):
    with torch.device("meta"):
        network = I3D()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == official_keys["i3d"]
    assert sum(value.numel() for value in network.parameters()) == 12_697_264


def test_resnext_has_the_official_keys_and_shapes_but_its_classifier(official_keys):
    with torch.device("meta"):
        network = ResNeXt3D()
    ours = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    official = official_keys["resnext3d"]
    assert ours == {key: shape for key, shape in official.items() if not key.startswith("fc.")}


def test_parity_of_i3d_at_every_stored_length(i3d, vectors, expected):
    lengths = [int(found[1]) for name in vectors if (found := re.match(r"i3d_in_T(\d+)_", name))]
    assert lengths
    for length in lengths:
        [stored] = [array for name, array in vectors.items() if name.startswith(f"i3d_in_T{length}_")]
        with torch.no_grad():
            pooled = i3d.network.pool(stored_input(stored, 224) / 127.5 - 1)
            logits = i3d.network.logits(pooled).mean(dim=2).flatten(1)
        assert_close(pooled, vectors[f"i3d_pool_T{length}"])
        assert_close(logits, vectors[f"i3d_logits_T{length}"])
        assert logits.norm().item() == pytest.approx(expected["networks"][f"i3d_T{length}"]["logits_l2"], rel=RELATIVE)


def test_parity_of_i3d_from_bytes_and_of_a_batch(i3d, vectors):
    """The stored frames enlarge to the network's size without interpolation, so bytes can go in at that size."""
    lengths = [int(found[1]) for name in vectors if (found := re.match(r"i3d_in_T(\d+)_", name))]
    length = min(lengths)
    [stored] = [array for name, array in vectors.items() if name.startswith(f"i3d_in_T{length}_")]
    clips = stored_input(stored, 224).permute(0, 2, 3, 4, 1).numpy().astype(np.uint8)
    features = i3d.features(np.concatenate([clips[:, ::-1], clips]), "squash")
    assert features.dtype == np.float32
    assert_close(torch.from_numpy(features[len(clips) :]), vectors[f"i3d_logits_T{length}"])


def test_parity_of_resnext(resnext, vectors, expected):
    [stored] = [array for name, array in vectors.items() if name.startswith("resnext_in")]
    clips = stored_input(stored, 112).permute(0, 2, 3, 4, 1).numpy().astype(np.uint8)
    features = torch.from_numpy(resnext.features(clips, "squash"))
    assert_close(features, vectors["resnext_feat"])
    assert features.norm().item() == pytest.approx(expected["networks"]["resnext101_3d"]["l2"], rel=RELATIVE)


def test_parity_of_c3d_from_its_npz_file(c3d, vectors, expected):
    [stored] = [array for name, array in vectors.items() if name.startswith("c3d_in")]
    x = (stored_input(stored, 112) - 128) / 64
    with torch.no_grad():
        logits = c3d.network(x)
        hidden = c3d.network.features(x)
    assert_close(logits, vectors["c3d_fc8"])
    assert logits.norm().item() == pytest.approx(expected["networks"]["c3d"]["l2"], rel=RELATIVE)
    fc8 = c3d.network.fc8
    assert_close((hidden @ fc8.weight.T + fc8.bias).detach(), vectors["c3d_fc8"])


def test_c3d_turns_bytes_into_probabilities(c3d, mean_video):
    clips = np.random.default_rng(0).integers(0, 256, (1, 16, 112, 112, 3), np.uint8)
    found = c3d.probabilities(clips, "squash")
    # at the network's own size nothing is resized: blue, green, red at 128 x + 128, less the mean's corner
    bgr = (clips[..., ::-1].astype(np.float64) / 127.5 - 1) * 128 + 128
    x = np.moveaxis(bgr, -1, 1) - mean_video[:, :, 8:120, 8:120]
    with torch.no_grad():
        logits = c3d.network(torch.from_numpy(x.astype(np.float32))).double().numpy()
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, exponentials / exponentials.sum(axis=1, keepdims=True), atol=1e-4)
    assert c3d.features(clips[:1], "squash").shape == (1, c3d.dim)


def test_what_networks_say_of_themselves(i3d, resnext, c3d, i3d_file, c3d_file):
    assert (i3d.name, i3d.kind, i3d.dim, i3d.classes) == ("i3d-kinetics400", "i3d", 400, None)
    assert (resnext.name, resnext.kind, resnext.dim) == ("resnext101-3d-kinetics", "resnext3d", 2048)
    assert (c3d.name, c3d.kind, c3d.dim, c3d.classes) == ("c3d-ucf101", "c3d", 4096, 101)
    assert i3d.sha256 == hashlib.sha256(i3d_file.read_bytes()).hexdigest()
    mean_sha256 = hashlib.sha256(c3d_file.with_name("mean2.npz").read_bytes()).hexdigest()
    assert c3d.sha256 == f"{hashlib.sha256(c3d_file.read_bytes()).hexdigest()}+{mean_sha256}"


def test_lengths_that_networks_do_not_take(i3d, resnext, c3d):
    clips = np.zeros((1, 17, 8, 8, 3), np.uint8)
    with pytest.raises(UserError, match="i3d-kinetics400 takes clips of at least 9 frames, not 8"):
        i3d.features(clips[:, :8], "squash")
    for network, frames in ((resnext, 17), (c3d, 17), (resnext, 15), (c3d, 15)):
        with pytest.raises(UserError, match=f"{network.name} takes clips of 16 frames, not {frames}"):
            network.features(clips[:, :frames], "crop")
    with pytest.raises(UserError, match="i3d-kinetics400 gives no class probabilities"):
        i3d.probabilities(clips, "squash")
    with pytest.raises(UserError, match="unknown resize 'squahs'; did you mean 'squash'"):
        i3d.features(clips, "squahs")
