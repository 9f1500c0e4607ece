"""Sound features against a slow transform, pure tones, and the published shape."""

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.data.sets.stft import (
    SAMPLE_RATE,
    frame_spectra,
    read_spectra,
    spectra_path,
    write_spectra,
)


def test_shape_and_range_are_the_published_ones():
    noise = np.random.default_rng(0).uniform(-1, 1, 3 * SAMPLE_RATE).astype(np.float32)
    spectra = frame_spectra(noise, 90, 30.0)
    assert spectra.shape == (90, 45, 17)
    assert spectra.dtype == np.float32
    assert spectra.min() >= 0
    assert spectra.max() <= 1


@pytest.mark.parametrize("fps", [30.0, 25.0, 12.5])
def test_values_against_a_transform_written_out_in_full(fps):
    """Row r of column c of frame k: the sum over 88 samples around (k + c / 16) / fps seconds, in decibels."""
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 2000).astype(np.float32)
    spectra = frame_spectra(samples, 4, fps)
    window = [0.5 - 0.5 * np.cos(2 * np.pi * n / 88) for n in range(88)]
    for k, c, row in [(0, 0, 0), (0, 16, 7), (1, 0, 7), (2, 5, 44), (3, 9, 20), (3, 16, 1)]:
        centre = round((k + c / 16) * 11025 / fps)
        total = 0j
        for n in range(88):
            place = centre - 44 + n
            sample = float(samples[place]) if 0 <= place < len(samples) else 0.0
            total += window[n] * sample * np.exp(-2j * np.pi * row * n / 88)
        decibels = 20 * np.log10(max(abs(total) * 2 / sum(window), 1e-4))
        assert spectra[k, row, c] == pytest.approx(min(max((decibels + 80) / 80, 0), 1), abs=1e-5)


@pytest.mark.parametrize("row", [4, 20, 40])
def test_a_tone_of_full_scale_is_one_in_its_row(row):
    tone = np.sin(2 * np.pi * row / 88 * np.arange(SAMPLE_RATE)).astype(np.float32)
    spectra = frame_spectra(tone, 10, 30.0)[2:8]
    assert spectra[:, row] == pytest.approx(1, abs=0.01)
    assert (spectra.argmax(axis=1) == row).all()
    half = frame_spectra(tone / 2, 10, 30.0)[2:8]
    assert spectra[:, row] - half[:, row] == pytest.approx(20 * np.log10(2) / 80, abs=1e-3)


def test_silence_and_the_end_of_the_sound_are_zero():
    assert (frame_spectra(np.zeros(5000, np.float32), 10, 30.0) == 0).all()
    noise = np.random.default_rng(2).uniform(-1, 1, SAMPLE_RATE // 2).astype(np.float32)  # half a second
    spectra = frame_spectra(noise, 30, 30.0)
    assert spectra[:15].mean() > 0.3
    assert (spectra[16:] == 0).all()


def test_a_part_of_a_video_has_the_features_it_has_in_the_whole():
    noise = np.random.default_rng(3).uniform(-1, 1, SAMPLE_RATE).astype(np.float32)
    fps = SAMPLE_RATE / 368  # a whole number of samples per frame
    whole, part = frame_spectra(noise, 20, fps), frame_spectra(noise[5 * 368 :], 15, fps)
    assert np.allclose(whole[6:], part[1:], atol=1e-6)
    assert np.array_equal(whole[3, :, 16], whole[4, :, 0])  # the moment between two frames belongs to both


def test_files_beside_the_video(tmp_path):
    spectra = frame_spectra(np.random.default_rng(4).uniform(-1, 1, 4000).astype(np.float32), 6, 25.0)
    video = tmp_path / "clip.mp4"
    assert spectra_path(video).name == "clip.stft.npz"
    write_spectra(spectra_path(video), spectra)
    assert np.array_equal(read_spectra(video), spectra)
    with pytest.raises(UserError, match=r"has no sound features beside it \(other.stft.npz\)"):
        read_spectra(tmp_path / "other.mp4")
    (tmp_path / "bad.stft.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not an npz file"):
        read_spectra(tmp_path / "bad.mp4")
    np.savez(tmp_path / "odd.stft.npz", stft=np.zeros((6, 17, 45)))
    with pytest.raises(UserError, match=r"holds \(6, 17, 45\), spectra are \(frames, 45, 17\)"):
        read_spectra(tmp_path / "odd.mp4")
