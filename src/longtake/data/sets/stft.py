"""Sound as TATS takes it: one small picture of the spectrum per video frame, "t 45 17".

The TATS repository reads such arrays but does not say how they were made (its issue 34 is open). What is known is their
shape, (90, 45, 17) for 90 frames, and that they lie in [0, 1], as 2 x - 1 is fed to the network. The choices here:

- 45 rows are frequencies: a transform of 88 samples has 45, from 0 Hz to half the sample rate, row 0 the lowest.
- 17 columns are moments, evenly spaced over the time that the video frame is shown, both ends included, so that the
  last column of a frame is the first of the next. At 11,025 Hz and 30 frames per second they are 23 samples apart,
  about a quarter of the window, as is usual.
- Mono sound, 11,025 samples per second, a Hann window of 88 samples (8 ms) centred on each moment; silence before the
  first and after the last sample.
- A value is the magnitude in decibels, 0 dB for a sine of full scale in the middle of a row, -80 dB and less becomes 0,
  0 dB and more becomes 1. The scale is fixed, not fitted to the clip: a quiet video stays quiet, and a part of a video
  has the features that it has in the whole.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from einops import rearrange
from jaxtyping import Float

from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.core.npy_files import read_arrays

SAMPLE_RATE = 11025
NUM_ROWS = 45
NUM_COLUMNS = 17
WINDOW = 2 * (NUM_ROWS - 1)
FLOOR_DB = -80.0

FrameSpectra = Float[np.ndarray, "t 45 17"]


def frame_spectra(samples: Float[np.ndarray, " samples"], num_frames: int, fps: float) -> FrameSpectra:
    """Return the spectra of `num_frames` video frames, float32 in [0, 1], from mono sound at `SAMPLE_RATE`.

    Sample 0 is heard when frame 0 appears; frame k is shown from k / fps to (k + 1) / fps seconds.
    """
    frame, within = np.arange(num_frames), np.linspace(0, 1, NUM_COLUMNS)
    moments = np.round((frame[:, None] + within) * SAMPLE_RATE / fps).astype(np.int64)
    silence_after = max(0, int(moments[-1, -1]) + WINDOW - len(samples))
    padded = np.pad(np.asarray(samples, np.float32), (WINDOW // 2, silence_after))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    pieces = padded[moments[:, :, None] + np.arange(WINDOW)]
    magnitude = np.abs(np.fft.rfft(pieces * hann)) * 2 / hann.sum()
    decibels = 20 * np.log10(np.maximum(magnitude, 10 ** (FLOOR_DB / 20)))
    return rearrange((1 - decibels / FLOOR_DB).clip(0, 1), "t column row -> t row column").astype(np.float32)


def spectra_path(video: Path) -> Path:
    """Return where the spectra of a prepared video are: `x.mp4` has `x.stft.npz` beside it."""
    return video.with_name(f"{video.stem}.stft.npz")


def write_spectra(path: Path, spectra: FrameSpectra) -> None:
    """Write spectra as the array `stft` of an npz file, whole or not at all."""
    with atomic_path(path) as partial:
        np.savez(partial, stft=spectra)


def read_spectra(video: Path) -> FrameSpectra:
    """Return the spectra of a prepared video; raise `UserError` if it has none, and as `load_spectra` does."""
    path = spectra_path(video)
    if not path.is_file():
        raise UserError(f"{video}: has no sound features beside it ({path.name})")
    return load_spectra(path)


def load_spectra(path: Path) -> FrameSpectra:
    """Return the spectra in an npz file; raise `UserError` if it is not of that kind."""
    try:
        spectra = read_arrays(path)["stft"]
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise UserError(f"{path}: is not an npz file with an array 'stft'") from error
    if spectra.ndim != 3 or spectra.shape[1:] != (NUM_ROWS, NUM_COLUMNS) or not len(spectra):
        raise UserError(f"{path}: holds {spectra.shape}, spectra are (frames, {NUM_ROWS}, {NUM_COLUMNS})")
    return spectra.astype(np.float32, copy=False)
