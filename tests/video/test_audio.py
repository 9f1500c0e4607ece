"""Sound as samples: values, rates and the step with the pictures, from files written with PyAV alone."""

from __future__ import annotations

import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from longtake.video import VideoError
from longtake.video.audio import read_audio

RATE = 11025


def write_wav(path, channels, rate=RATE):
    """Write float channels "n channels" as 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((channels * 32767).round().astype("<i2").tobytes())
    return path


def write_film(path, samples, audio_codec, rate=44100, fps=10, num_frames=20, picture_delay=0.0, sound_delay=0.0):
    """Write grey pictures with sound; the delays move the time stamps of all pictures or of all sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=fps)
        video.height = video.width = 32
        video.pix_fmt = "yuv420p"
        audio = container.add_stream(audio_codec, rate=rate, layout="mono")
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 100, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number + round(picture_delay * fps), Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, len(samples), 1024):
            piece = np.ascontiguousarray(samples[None, start : start + 1024], np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            frame.sample_rate = rate
            frame.pts, frame.time_base = start + round(sound_delay * rate), Fraction(1, rate)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


def burst(rate, seconds=2.0, begin=1.0, length=0.25):
    """Silence but for a tone of 1 kHz."""
    samples = np.zeros(round(seconds * rate), np.float32)
    time = np.arange(round(length * rate)) / rate
    samples[round(begin * rate) :][: len(time)] = 0.5 * np.sin(2 * np.pi * 1000 * time)
    return samples


def loud_span(samples, rate=RATE):
    """First and last moment of more than a tenth of full scale, in seconds."""
    places = np.flatnonzero(np.abs(samples) > 0.1)
    return places[0] / rate, places[-1] / rate


def test_samples_of_a_wav_file_are_exact(tmp_path):
    samples = np.random.default_rng(0).uniform(-1, 1, (3000, 1))
    found = read_audio(write_wav(tmp_path / "a.wav", samples), RATE)
    assert found.dtype == np.float32
    assert found.shape == (3000,)
    assert np.abs(found - samples[:, 0]).max() < 1e-4


def test_channels_are_averaged(tmp_path):
    time = np.arange(3000) / RATE
    left, right = np.sin(2 * np.pi * 440 * time) * 0.5, np.cos(2 * np.pi * 700 * time) * 0.25
    found = read_audio(write_wav(tmp_path / "stereo.wav", np.stack([left, right], 1)), RATE)
    assert np.abs(found - (left + right) / 2).max() < 1e-3


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_are_resampled_at_the_same_speed(tmp_path, rate):
    time = np.arange(rate) / rate
    path = write_wav(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * time)[:, None], rate)
    found = read_audio(path, RATE)
    assert abs(len(found) - RATE) <= 2
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(found)) / RATE)
    assert np.abs(found - expected)[200:-200].max() < 0.01


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".avi", "pcm_s16le"), (".mkv", "flac")])
def test_sound_is_in_step_with_the_pictures(tmp_path, suffix, codec):
    path = write_film(tmp_path / f"film{suffix}", burst(44100), codec)
    first, last = loud_span(read_audio(path, RATE))
    assert first == pytest.approx(1.0, abs=0.005)
    assert last == pytest.approx(1.25, abs=0.005)


@pytest.mark.parametrize(("picture_delay", "sound_delay"), [(0.0, 0.5), (0.5, 0.0)])
def test_a_track_that_begins_later_or_earlier_is_moved(tmp_path, picture_delay, sound_delay):
    path = tmp_path / "film.mkv"
    write_film(path, burst(44100), "pcm_s16le", picture_delay=picture_delay, sound_delay=sound_delay)
    first, _ = loud_span(read_audio(path, RATE))
    assert first == pytest.approx(1.0 + sound_delay - picture_delay, abs=0.005)


def test_files_without_sound_are_named(tmp_path, encode):
    silent = encode(tmp_path / "silent.mp4", "mpeg4", 3)
    with pytest.raises(VideoError, match=r"silent.mp4: has no sound$"):
        read_audio(silent, RATE)
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    with pytest.raises(VideoError, match=r"text.wav: its sound cannot be read \("):
        read_audio(text, RATE)
    with pytest.raises(VideoError, match=r"nowhere.wav: no such file$"):
        read_audio(tmp_path / "nowhere.wav", RATE)
    empty = write_wav(tmp_path / "empty.wav", np.zeros((0, 1)))
    with pytest.raises(VideoError, match=r"empty.wav: has no sound that can be decoded$"):
        read_audio(empty, RATE)
