"""From bytes to what networks see, against stored values and slow, obvious versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from longtake.metrics.networks.preprocess import c3d_input, fit, i3d_input, local_input, resnext_input


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(3).integers(0, 256, (2, 3, 30, 44, 3), np.uint8)


@pytest.mark.parametrize(("resize", "stored"), [("squash", "tats_squash_224"), ("crop", "digan_short_side_crop_224")])
def test_i3d_input_equals_reference(vectors, expected, resize, stored):
    found, reference = i3d_input(vectors["clip"], resize), expected["preprocess"][stored]
    assert list(found.shape) == reference["shape"]
    for name in ("mean", "std", "min", "max"):
        assert getattr(found, name)().item() == pytest.approx(reference[name], abs=1e-6)
    row = found[0, 0, 0, 100]
    np.testing.assert_allclose(row[[0, 7, 111, 223]].numpy(), reference["row0_col_samples"], atol=1e-6)


def test_i3d_input_at_its_own_size_is_the_bytes():
    clips = np.random.default_rng(0).integers(0, 256, (1, 2, 224, 224, 3), np.uint8)
    expected = clips.astype(np.float64).transpose(0, 4, 1, 2, 3) / 127.5 - 1
    for resize in ("squash", "crop"):
        np.testing.assert_allclose(i3d_input(clips, resize).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(30, 44), (44, 30), (240, 320), (25, 50), (64, 64), (1080, 1920)])
def test_crop_keeps_the_shape_and_takes_the_centre(height, width):
    found = fit(height, width, 224, "crop")
    assert min(found.height, found.width) == 224
    assert found.height == 224 if height <= width else found.width == 224
    longer = math.ceil(max(height, width) * (224 / min(height, width)))
    assert max(found.height, found.width) == longer
    assert (found.top, found.left) == ((found.height - 224) // 2, (found.width - 224) // 2)


def test_resnext_input_is_pillows_resize_less_the_mean(clips):
    found = resnext_input(clips, "squash")
    frame = Image.fromarray(clips[1, 2]).resize((112, 112), Image.Resampling.BILINEAR)
    expected = np.asarray(frame, np.float64) - [114.7748, 107.7354, 99.4750]
    np.testing.assert_allclose(found[1, :, 2].numpy(), expected.transpose(2, 0, 1), atol=1e-4)
    assert found.shape == (2, 3, 3, 112, 112)


def test_c3d_input_interpolates_from_corner_to_corner(clips):
    mean = torch.rand(3, 3, 112, 112) * 200
    found = c3d_input(clips, "squash", mean).numpy()
    scaled = (clips[..., ::-1].astype(np.float64) / 127.5 - 1) * 128
    for clip, channel, time, row, column in [
        (0, 0, 0, 0, 0),
        (1, 2, 2, 111, 111),
        (0, 1, 1, 40, 77),
        (1, 0, 2, 111, 5),
    ]:
        y, x = row * 29 / 111, column * 43 / 111
        top, left = min(int(y), 28), min(int(x), 42)
        square = scaled[clip, time, top : top + 2, left : left + 2, channel]
        weight = np.outer([1 - (y - top), y - top], [1 - (x - left), x - left])
        value = (square * weight).sum() + 128 - mean[channel, time, row, column].item()
        assert found[clip, channel, time, row, column] == pytest.approx(value, abs=1e-2)


def test_local_input_is_antialiased_and_in_range(clips):
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    squares = np.broadcast_to(board[None, None, :, :, None], (1, 1, 64, 64, 3)).astype(np.uint8)
    assert local_input(squares, 8, "squash").abs().max() < 0.02  # grey: nothing of the pattern is left
    found = local_input(clips, 16, "crop")
    assert found.shape == (2, 3, 3, 16, 16)
    assert found.min() >= -1
    assert found.max() <= 1


def test_squash_and_crop_differ_on_wide_frames_only(clips):
    assert not torch.equal(local_input(clips, 16, "squash"), local_input(clips, 16, "crop"))
    squares = np.ascontiguousarray(clips[:, :, :, :30])
    assert torch.equal(local_input(squares, 16, "squash"), local_input(squares, 16, "crop"))
    assert torch.equal(i3d_input(squares, "squash"), i3d_input(squares, "crop"))
