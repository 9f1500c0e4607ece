import numpy as np
import pytest
from einops import rearrange

from longtake.core.errors import UserError
from longtake.metrics import (
    average_curve,
    channel_histogram_correlation,
    cosine_similarity_by_lag,
    histogram_correlation,
    psnr,
    ssim,
    temporal_flickering,
)

FORMS = {
    "vbench_temporal_flickering": temporal_flickering,
    "hist_corr_first_last_joint_8bins": histogram_correlation,
    "hist_corr_first_last_perchannel_256bins": channel_histogram_correlation,
}


@pytest.fixture
def videos(vectors):
    return {name: rearrange(vectors[f"video_{name}"], "b t c h w -> b t h w c") for name in "ab"}


@pytest.fixture
def video():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", FORMS)
def test_reference_numbers_of_videos(videos, expected, name):
    found = [FORMS[name](each) for each in videos["b"]]
    np.testing.assert_allclose(found, expected["frame"][name], rtol=1e-9)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_reference_mean_curves(videos, expected, metric):
    curves = [metric(x, y) for x, y in zip(videos["a"], videos["b"], strict=True)]
    found = average_curve(curves)
    np.testing.assert_allclose(found.mean, expected["frame"][f"{metric.__name__}_mean_t"], rtol=1e-7)
    np.testing.assert_allclose(found.std, np.std(curves, axis=0))
    assert found.num_videos == len(curves)


def test_flickering_by_hand(video):
    still = np.repeat(video[:1], 3, axis=0)
    assert temporal_flickering(still) == 1
    blinking = np.stack([np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)])
    assert temporal_flickering(blinking) == 0
    assert temporal_flickering(video / 255) == pytest.approx(temporal_flickering(video), rel=1e-12)
    slow = [abs(int(a) - int(b)) for t in range(3) for a, b in zip(video[t].flat, video[t + 1].flat, strict=True)]
    assert temporal_flickering(video) == pytest.approx((255 - np.mean(slow)) / 255, rel=1e-12)


def test_cosine_by_lag_of_a_turning_vector():
    angles = np.arange(60) * 0.1
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.linspace(1, 9, 60)[:, None]
    np.testing.assert_allclose(cosine_similarity_by_lag(features), np.cos(np.array([2, 5, 10, 20, 50]) * 0.1))
    np.testing.assert_allclose(cosine_similarity_by_lag(features, [1, 59]), np.cos([0.1, 5.9]))


def test_histogram_correlation_by_explicit_histograms(video):
    joint = [np.histogramdd(frame.reshape(-1, 3), bins=8, range=[(0, 256)] * 3)[0].ravel() for frame in video[[0, -1]]]
    assert histogram_correlation(video) == pytest.approx(np.corrcoef(*joint)[0, 1], rel=1e-9)
    channels = [
        np.corrcoef(*(np.histogram(frame[..., c], bins=256, range=(0, 256))[0] for frame in video[[0, -1]]))[0, 1]
        for c in range(3)
    ]
    assert channel_histogram_correlation(video) == pytest.approx(np.mean(channels), rel=1e-9)


@pytest.mark.parametrize("metric", [histogram_correlation, channel_histogram_correlation])
def test_histogram_correlation_ignores_where_a_colour_is(video, metric):
    turned = np.stack([video[0], video[0, ::-1, ::-1]])
    assert metric(turned) == pytest.approx(1)
    assert metric(video) < 1
    assert metric(np.stack([np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)])) < 0


def test_flat_histograms():
    every_value = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)
    assert channel_histogram_correlation(np.concatenate([every_value, every_value[:, ::-1]])) == 1
    assert channel_histogram_correlation(np.concatenate([every_value, every_value // 2])) == 0


def test_what_has_no_course(video):
    with pytest.raises(UserError, match="at least 2 frames"):
        temporal_flickering(video[:1])
    with pytest.raises(UserError, match="NaN"):
        temporal_flickering(np.full((2, 2, 2, 3), np.nan))
    with pytest.raises(UserError, match="uint8"):
        histogram_correlation(video / 255)
    with pytest.raises(UserError, match="no lag 5: from 1 to 3"):
        cosine_similarity_by_lag(np.ones((4, 2)))
    with pytest.raises(UserError, match="no lag 0"):
        cosine_similarity_by_lag(np.ones((4, 2)), [0])
    with pytest.raises(UserError, match="no direction"):
        cosine_similarity_by_lag(np.zeros((4, 2)), [1])
    with pytest.raises(UserError, match="different lengths"):
        average_curve([[1.0, 2], [1]])
