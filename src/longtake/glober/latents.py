"""Clips as frame latents: encoded anew for every step, or once and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import AutoencoderKL
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from longtake.core.batch import VideoBatch
from longtake.core.randomness import derive_seed
from longtake.data.dataset import ClipDataset
from longtake.data.transforms import augment, to_video
from longtake.glober.frame_vae import encode_frames


@dataclass(frozen=True)
class LatentBatch:
    """Clips of frame latents.

    Attributes:
        latents: every frame of each clip, "b t c h w".
        label: class of each clip (-1: none), "b".
        text: caption of each clip ("": none).
        clips: what tells one cached clip from another: its video, its variant, its first frame.
    """

    latents: Float[Tensor, "b t c h w"]
    label: Int[Tensor, " b"]
    text: list[str]
    clips: list[tuple[int, int, int]]

    def to(self, device: torch.device | str) -> LatentBatch:
        """Return the batch with its tensors on `device`."""
        return replace(self, latents=self.latents.to(device), label=self.label.to(device))


def frame_latents(
    batch: VideoBatch | LatentBatch, frames: Int[Tensor, "b n"], frame_vae: AutoencoderKL, generator: torch.Generator
) -> Float[Tensor, "b n c h w"]:
    """Return the latents of the frames at the given indexes of each clip.

    Latents made here are drawn from the posterior, as the authors do; cached ones are its mode.
    """
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    if isinstance(batch, LatentBatch):
        return batch.latents[rows, frames]
    chosen = rearrange(rearrange(batch.video, "b c t h w -> b t c h w")[rows, frames], "b n c h w -> (b n) c h w")
    with torch.no_grad():
        latents = encode_frames(frame_vae, chosen, generator)
    return rearrange(latents, "(b n) c h w -> b n c h w", b=len(frames))


class LatentClips:
    """Every video of a data set as latents, `num_variants` times over, each variant augmented anew.

    A variant is encoded when a clip of it first comes up, and kept in memory. Which clip stands at which position is
    `ClipDataset`'s choice, so a run is as repeatable as without the cache.
    """

    def __init__(self, dataset: ClipDataset, frame_vae: AutoencoderKL, num_variants: int, device: torch.device) -> None:
        self.dataset = dataset
        self.frame_vae = frame_vae
        self.num_variants = num_variants
        self.device = device
        self._known: dict[tuple[int, int], Float[Tensor, "t c h w"]] = {}

    def latents(self, video: int, variant: int) -> Float[Tensor, "t c h w"]:
        """All frames of one variant of `dataset.entries[video]`, on the CPU."""
        if (video, variant) not in self._known:
            self._known[video, variant] = self._encode(video, variant)
        return self._known[video, variant]

    def _encode(self, video: int, variant: int) -> Float[Tensor, "t c h w"]:
        rng = np.random.default_rng(derive_seed(self.dataset.seed, video, variant))
        frames = to_video(augment(self.dataset.video(video), self.dataset.augment, rng))
        frames = rearrange(frames, "c t h w -> t c h w")
        with torch.no_grad():
            return encode_frames(self.frame_vae, frames.to(self.device)).cpu()

    def batches(self, batch_size: int, first_batch: int, rank: int, world_size: int) -> Iterator[LatentBatch]:
        """Yield the endless batches of one rank; positions as in `data.loading.clip_batches`."""
        batch = first_batch
        while True:
            first = (batch * world_size + rank) * batch_size
            yield self._batch(range(first, first + batch_size))
            batch += 1

    def _batch(self, positions: range) -> LatentBatch:
        latents, entries, clips = [], [], []
        for position in positions:
            video, indices, rng = self.dataset.choose(position)
            variant = int(rng.integers(self.num_variants))
            latents.append(self.latents(video, variant)[torch.from_numpy(indices)])
            entries.append(self.dataset.entries[video])
            clips.append((video, variant, int(indices[0])))
        labels = torch.tensor([entry.label for entry in entries])
        return LatentBatch(torch.stack(latents), labels, [entry.text for entry in entries], clips)
