"""Sound for tests: tones in wav files, and videos that flash where they sound."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from longtake.data.sets.stft import SAMPLE_RATE, frame_spectra, spectra_path, write_spectra
from longtake.video import write_video

RATE = 22050
FPS = 25  # of frames in .npy files
BEAT = 4  # video frames


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    """Write mono samples in [-1, 1] as 16-bit sound."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def write_tone(path: Path, seconds: float, frequency: float) -> None:
    """Write a tone of half the full scale."""
    write_wav(path, 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE))


def drumming(rng: np.random.Generator, num_beats: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a video that is bright where its sound is loud, "t 16 16 3", and the sound, a beat of `BEAT` frames."""
    is_loud = rng.random(num_beats) < 0.5
    frames = np.where(is_loud.repeat(BEAT), 220, 30)[:, None, None, None] + rng.integers(-8, 8, (1, 16, 16, 3))
    noise = rng.uniform(-1, 1, num_beats * BEAT * SAMPLE_RATE // FPS)
    loud = is_loud.repeat(BEAT * SAMPLE_RATE // FPS)
    return frames.astype(np.uint8), np.where(loud, 0.5, 0.0) * noise


def write_drummers(root: Path, num_videos: int = 8, num_beats: int = 8) -> Path:
    """Write videos with the spectra of their sound, as `longtake data prepare` leaves them."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(num_videos):
        frames, samples = drumming(rng, num_beats)
        video = root / f"{number}.npy"
        write_video(video, frames, FPS)
        write_spectra(spectra_path(video), frame_spectra(samples, len(frames), FPS))
    return root
