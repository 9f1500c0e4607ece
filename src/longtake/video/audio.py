"""The sound of a file as one track of samples, in step with its pictures."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float

from longtake.video.info import VideoError, open_failure

# Only real containers, as for pictures, and plain sound files.
_DEMUXERS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,wav,mp3,flac,aac"


def read_audio(path: Path, rate: int) -> Float[np.ndarray, " samples"]:
    """Return the first sound track of a video or sound file, the mean of its channels, at `rate` samples per second.

    float32, full scale is [-1, 1]. Sample 0 is heard with the first picture (in a sound file: at its beginning): a
    track that begins later is preceded by silence, one that begins earlier is cut. Raises `VideoError` if the file
    cannot be read or has no sound.
    """
    path = Path(path)
    reason = open_failure(path)
    if reason:
        raise VideoError(f"{path}: {reason}")
    try:
        with av.open(os.fspath(path.absolute()), container_options={"format_whitelist": _DEMUXERS}) as container:
            if not container.streams.audio:
                raise VideoError(f"{path}: has no sound")
            samples = _decode(container, rate)
    except (av.FFmpegError, UnicodeError) as error:
        raise VideoError(f"{path}: its sound cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not len(samples):
        raise VideoError(f"{path}: has no sound that can be decoded")
    return samples


def _decode(container: av.container.InputContainer, rate: int) -> Float[np.ndarray, " samples"]:
    # The resampler's own mono is louder than the mean: it adds the channels at 0.7 each.
    resampler = av.AudioResampler(format="fltp", rate=rate)
    pieces: list[np.ndarray] = []
    begin: float | None = None
    for frame in container.decode(audio=0):
        begin = (frame.time or 0.0) if begin is None else begin
        pieces += [piece.to_ndarray().mean(axis=0) for piece in resampler.resample(frame)]
    if begin is None:
        return np.zeros(0, np.float32)
    pieces += [piece.to_ndarray().mean(axis=0) for piece in resampler.resample(None)]
    samples = np.concatenate(pieces).astype(np.float32)
    late = round((begin - _first_picture(container)) * rate)
    return np.pad(samples, (late, 0)) if late > 0 else samples[-late:]


def _first_picture(container: av.container.InputContainer) -> float:
    """Return the time of the first picture in seconds, 0 where there is none."""
    for stream in container.streams.video:
        if stream.start_time is not None and stream.time_base:
            return float(stream.start_time * stream.time_base)
    return 0.0
