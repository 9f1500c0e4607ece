import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange

from longtake.core.errors import UserError
from longtake.metrics import frechet_distance, temporal_flickering
from longtake.metrics.frames import motion_correlation, psnr, ssim

FIXTURES = Path(os.environ.get("LONGTAKE_FIXTURES", Path(__file__).parents[2] / "../shared/fixtures")) / "metrics"


@pytest.fixture(scope="module")
def reference():
    """Stored videos, and PSNR and SSIM of their frames by the public implementation papers use."""
    if not FIXTURES.is_dir():
        pytest.skip(f"no fixtures in {FIXTURES}")
    arrays = np.load(FIXTURES / "vectors.npz")
    first, second = (rearrange(arrays[name], "b t c h w -> b t h w c") for name in ("video_a", "video_b"))
    return first, second, json.loads((FIXTURES / "expected.json").read_text())["frame"]


def test_psnr_of_reference_videos(reference):
    first, second, expected = reference
    found = [psnr(x, y) for x, y in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, expected["psnr_per_video_per_frame"], rtol=1e-9)


def test_ssim_of_reference_videos(reference):
    first, second, expected = reference
    found = [ssim(x, y) for x, y in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, expected["ssim_per_video_per_frame"], rtol=1e-7)


def test_psnr_by_hand():
    black = np.zeros((2, 12, 12, 3), np.uint8)
    other = black.copy()
    other[1] = 51  # a fifth of the range: mse 0.04
    np.testing.assert_allclose(psnr(black, other), [100, -10 * np.log10(0.04)])


def test_floats_and_bytes_agree():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (2, 3, 16, 20, 3), dtype=np.uint8)
    np.testing.assert_allclose(psnr(x, y), psnr(x / 255, y / 255))
    np.testing.assert_allclose(ssim(x, y), ssim(x / 255, y / 255))


def test_ssim_of_equal_and_of_constant_frames():
    x = np.full((1, 11, 11, 3), 0.2)
    y = np.full((1, 11, 11, 3), 0.6)
    np.testing.assert_allclose(ssim(x, x), 1)
    # no variance: only the luminance term is left
    np.testing.assert_allclose(ssim(x, y), (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4))


def test_shapes_that_cannot_be_compared():
    x = np.zeros((2, 12, 12, 3), np.uint8)
    with pytest.raises(UserError, match="same shape"):
        psnr(x, x[:1])
    with pytest.raises(UserError, match="at least 11 x 11"):
        ssim(x[:, :8], x[:, :8])


def test_motion_correlation_is_pearsons_of_the_deviations_from_the_mean_frame():
    rng = np.random.default_rng(0)
    still, moving, other = rng.random((1, 4, 4, 3)), rng.random((5, 4, 4, 3)), rng.random((5, 4, 4, 3))
    expected = np.corrcoef((moving - moving.mean(0)).ravel(), (other - other.mean(0)).ravel())[0, 1]
    assert motion_correlation(moving, other) == pytest.approx(expected)
    assert motion_correlation(moving, 0.5 * moving + 0.2) == pytest.approx(1)
    assert motion_correlation(moving, 1 - moving) == pytest.approx(-1)
    assert motion_correlation(moving, np.repeat(still, 5, axis=0)) == 0


@pytest.mark.parametrize("measure", [psnr, ssim, motion_correlation])
def test_what_the_range_of_values_cannot_be_told_from_is_refused(measure):
    video = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    other = video[:, ::-1]
    expected = measure(video, other)
    for kind, tolerance in ((np.float64, 1e-9), (">f8", 1e-9), (np.float16, 1e-3)):
        near = measure((video / 255).astype(kind), (other / 255).astype(kind))
        np.testing.assert_allclose(near, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(measure(torch.from_numpy(video), torch.from_numpy(other.copy())), expected)
    for wrong in (video.astype(np.int64), video.astype(np.float32), 2 * (video / 255) - 1, video.tolist()):
        with pytest.raises(UserError, match=r"must be uint8 or floats in \[0, 1\]"):
            measure(wrong, wrong)
    for wrong, message in ((video / 255 * np.nan, "NaN"), (None, "shape"), (video[0], "shape"), (video[:0], "few")):
        with pytest.raises(UserError, match=message):
            measure(wrong, wrong)


def test_flickering_knows_its_range_too():
    video = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    assert temporal_flickering(video) == pytest.approx(temporal_flickering(video / 255), abs=1e-12)
    with pytest.raises(UserError, match=r"must be uint8 or floats in \[0, 1\], not int64 from"):
        temporal_flickering(video.astype(np.int64))


def test_what_torch_does_not_hand_over_is_told_why():
    with pytest.raises(UserError, match=r"features x must be an array of shape \(n d\): .*detach"):
        frechet_distance(torch.ones(4, 4, requires_grad=True), np.ones((4, 4)))
    with pytest.raises(UserError, match="BFloat16"):
        frechet_distance(torch.ones(4, 4, dtype=torch.bfloat16), np.ones((4, 4)))


@pytest.mark.parametrize("values", [np.ones((4, 4)) * 1j, torch.ones(4, 4, requires_grad=True), [[1, 2], [3]]])
def test_values_that_are_no_real_numbers_are_refused(values):
    with pytest.raises(UserError, match="features x must be"):
        frechet_distance(values, values)
