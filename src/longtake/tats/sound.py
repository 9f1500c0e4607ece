"""Sound as a condition: spectrograms, one per video frame, and the codes that a VQGAN of their own gives them.

Spectrograms are those of `data.sets.stft`, resized and in [-1, 1]. The authors feed them to their VQGAN so, though its
video lies in [-0.5, 0.5]; we follow, so that theirs can be used: for `TatsVQGAN`, which halves its input, they are
doubled. Shapes: "b" clips, "t" video frames, "h w" rows and columns of a spectrogram, "l" condition tokens.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from longtake.core.errors import UserError
from longtake.data.clips import reflect
from longtake.data.sets.stft import SAMPLE_RATE, FrameSpectra, frame_spectra, load_spectra, read_spectra
from longtake.tats.condition import Clips, Condition, Course
from longtake.tats.vqgan import TatsVQGAN
from longtake.video import VideoError
from longtake.video.audio import read_audio

KEPT_SPECTROGRAMS = 256
SILENCE = -1.0

Size = tuple[int, int]


class SoundCondition(Condition):
    """The codes of the window's spectrograms, one spectrogram per video frame.

    Args:
        vqgan: encodes spectrograms as videos of one channel.
        size: height and width of a spectrogram.
    """

    def __init__(self, vqgan: TatsVQGAN, size: Size) -> None:
        self.vqgan = vqgan
        self.size = size
        self.vocabulary_size = vqgan.num_codes

    def length(self, num_frames: int) -> int:
        """Return the number of codes."""
        time, height, width = self.vqgan.config.downsample
        return (num_frames // time) * (self.size[0] // height) * (self.size[1] // width)

    def tokens(self, clips: Clips, num_frames: int) -> Int[Tensor, "b l"]:
        """Return the codes of each clip's sound, read from the file beside its video (see `read_spectrograms`)."""
        sounds = [
            spectrograms_at(read_spectrograms(path, self.size), start + np.arange(num_frames))
            for path, start in zip(clips.path, clips.start.tolist(), strict=True)
        ]
        return self.encode(torch.stack(sounds))

    @torch.no_grad()
    def encode(self, spectrograms: Float[Tensor, "b t h w"]) -> Int[Tensor, "b l"]:
        """Return the codes of spectrograms, in order of time."""
        video = as_video(spectrograms).to(self.vqgan.device, self.vqgan.dtype)
        return rearrange(self.vqgan.encode(video), "b t h w -> b (t h w)")

    def course(self, steer: Float[Tensor, "t h w"], rate: int, num_frames: int) -> Course:
        """Return the codes of the part of the sound that a window covers; after its end there is silence."""

        @lru_cache(maxsize=1)
        def tokens(first: int) -> Int[Tensor, " l"]:
            window = steer[first * rate :][:num_frames]
            padding = (0, 0, 0, 0, 0, num_frames - len(window))
            return self.encode(F.pad(window, padding, value=SILENCE)[None])[0]

        return lambda first, newest: tokens(first)


def as_video(spectrograms: Float[Tensor, "b t h w"]) -> Float[Tensor, "b 1 t h w"]:
    """Return spectrograms as `TatsVQGAN` takes them (see above)."""
    return 2 * rearrange(spectrograms, "b t h w -> b 1 t h w")


def spectrograms_at(spectrograms: Float[Tensor, "t h w"], frames: Int[np.ndarray, " n"]) -> Float[Tensor, "n h w"]:
    """Return the spectrograms of video frames, reflected at the ends as short videos are."""
    return spectrograms[torch.from_numpy(reflect(frames, len(spectrograms)))]


@lru_cache(maxsize=KEPT_SPECTROGRAMS)
def read_spectrograms(video: str, size: Size) -> Float[Tensor, "t h w"]:
    """Return the sound of a prepared video; raises `UserError` as `data.sets.stft.read_spectra` does."""
    return resized(read_spectra(Path(video)), size)


def read_sound(path: Path, size: Size, fps: float) -> Float[Tensor, "t h w"]:
    """Return the sound in a file of its own, a spectrogram for each frame of a video of `fps` frames per second.

    The file holds spectra, as `longtake data prepare` writes them (.npz), or sound, or a video with sound. Raises
    `UserError` if it cannot be read or has no sound.
    """
    if path.suffix == ".npz":
        return resized(load_spectra(path), size)
    try:
        samples = read_audio(path, SAMPLE_RATE)
    except VideoError as error:
        raise UserError(str(error)) from error
    num_frames = max(1, round(len(samples) * fps / SAMPLE_RATE))
    return resized(frame_spectra(samples, num_frames, fps), size)


def resized(spectra: FrameSpectra, size: Size) -> Float[Tensor, "t h w"]:
    """Resize spectra (bilinear, without antialiasing, as the authors do) and map [0, 1] to [-1, 1]."""
    pictures = rearrange(torch.from_numpy(spectra), "t row column -> t 1 row column")
    pictures = F.interpolate(pictures, size=size, mode="bilinear", align_corners=False)
    return rearrange(2 * pictures - 1, "t 1 h w -> t h w")
