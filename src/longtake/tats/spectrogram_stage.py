"""What the engine trains for sound: a VQGAN of spectrograms, one channel instead of three, otherwise as of frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from longtake.core.batch import VideoBatch
from longtake.core.errors import UserError
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.index import VideoIndex
from longtake.data.transforms import to_frames
from longtake.tats import build
from longtake.tats.config import SpectrogramRecipe
from longtake.tats.losses import check_perceptual
from longtake.tats.sound import as_video, read_spectrograms, spectrograms_at
from longtake.tats.stages import NUM_PREVIEWS, VQGANStage


def check(recipe: SpectrogramRecipe, index: VideoIndex) -> None:
    """Raise `UserError` for settings that cannot be built, and for videos without the spectra of their sound."""
    config = recipe.vqgan
    if config.pretrained:
        raise UserError("vqgan.pretrained is set, but the VQGAN is all that this recipe trains")
    if config.perceptual_weight:
        check_perceptual()
    with torch.device("meta"):
        build.vqgan(recipe)
    lengths = (recipe.span, *recipe.stft_size)
    if any(length % factor for length, factor in zip(lengths, config.downsample, strict=True)):
        raise UserError(
            f"span and stft_size are {list(lengths)}; they must be multiples of {list(config.downsample)} "
            "(vqgan.downsample)"
        )
    if config.augment != AugmentConfig():
        raise UserError("vqgan.augment is set, but it changes pictures; spectrograms must stay as they are")
    build.check_sound(index)


class SpectrogramStage(VQGANStage):
    """As `VQGANStage`, on the spectrograms of clips. Losses see them in [-1, 1], so that PSNR comes out 6 dB low."""

    name = "stft_vqgan"

    def __init__(self, recipe: SpectrogramRecipe, index: VideoIndex) -> None:
        clip = ClipConfig(num_frames=recipe.span, short_videos=recipe.short_videos)
        self._begin(recipe, index, clip, channels=1)
        self.size = recipe.stft_size

    def batches(self, first: int, rank: int, world_size: int) -> Iterator[VideoBatch]:
        """Batches of spectrograms as videos of one channel; positions as in `data.loading.clip_batches`."""
        size, batch = self.config.batch_size, first
        while True:
            begin = (batch * world_size + rank) * size
            yield self._batch(range(begin, begin + size))
            batch += 1

    def _batch(self, positions: range) -> VideoBatch:
        chosen = [self.dataset.choose(position)[:2] for position in positions]
        entries = [self.dataset.entries[video] for video, _ in chosen]
        clips = [
            spectrograms_at(read_spectrograms(str(entry.path), self.size), frames)
            for entry, (_, frames) in zip(entries, chosen, strict=True)
        ]
        return VideoBatch(
            video=as_video(torch.stack(clips)),
            label=torch.tensor([entry.label for entry in entries]),
            text=[entry.text for entry in entries],
            fps=torch.tensor([entry.info.fps for entry in entries], dtype=torch.float32),
            path=[str(entry.path) for entry in entries],
            start=torch.tensor([int(frames[0]) for _, frames in chosen]),
        )

    def preview(self, generator: torch.Generator) -> dict[str, np.ndarray]:
        """Training clips, each followed by its reconstruction, low frequencies at the bottom."""
        del generator
        video = self._batch(range(NUM_PREVIEWS)).video.to(self.vqgan.device)
        decoded = self.vqgan.decode_vectors(self.vqgan.lookup(self.vqgan.encode(video)))
        both = rearrange([video, decoded.float()], "which b ... -> (b which) ...")
        return {"reconstruction": to_frames(as_pictures(both))}


def as_pictures(video: Float[Tensor, "b 1 t h w"]) -> Float[Tensor, "b 3 t h w"]:
    """Return spectrograms as grey frames in [-1, 1], upside down: row 0 is the lowest frequency."""
    return video.flip(3).expand(-1, 3, -1, -1, -1) / 2
