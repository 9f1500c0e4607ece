"""Clips as frame latents: encoded anew for every step, once and kept in memory, or beforehand and read from disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from longtake.core.batch import VideoBatch
from longtake.data.dataset import ClipDataset
from longtake.data.encoded import EncodedStore, key_of
from longtake.data.encoded_index import Encoding
from longtake.data.index import VideoIndex, video_name
from longtake.data.transforms import SquareFrames, to_video
from longtake.data.variants import vary
from longtake.glober.config import GloberRecipe
from longtake.glober.frame_vae import encode_frames

CONTENT = "frame latents"  # what a store of them is said to hold


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


def video_latents(frame_vae: AutoencoderKL, frames: SquareFrames) -> Float[Tensor, "t c h w"]:
    """Return the latents (the posterior's mode) of all frames of a video, on the CPU."""
    video = rearrange(to_video(frames), "c t h w -> t c h w")
    with torch.no_grad():
        return encode_frames(frame_vae, video.to(frame_vae.device)).cpu()


def latent_encoding(frame_vae: AutoencoderKL, dataset: ClipDataset) -> Encoding:
    """Return what makes the latents of the variants of `dataset`."""
    digest = hashlib.sha256()
    for name, value in sorted(frame_vae.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    affine = [frame_vae.config[name] for name in ("latents_mean", "latents_std", "scaling_factor")]
    digest.update(json.dumps(affine).encode())
    return Encoding("glober", CONTENT, digest.hexdigest(), dataset.clip.size, dataset.augment, dataset.seed)


def check_stores(recipe: GloberRecipe, index: VideoIndex, stages: Collection[str]) -> None:
    """Raise `UserError` if what `stages` are to read from disk does not suit recipe and data, before any is trained.

    All but the frame VAE's weights is compared, which may not be there yet.
    """
    for name, config in (("autoencoder", recipe.autoencoder), ("generator", recipe.generator)):
        if config.encoded and name in stages:
            store = EncodedStore(Path(config.encoded))
            expected = replace(store.encoding, content=CONTENT, size=recipe.size, augment=config.augment)
            store.require(expected, index, config.cached_variants)


class LatentClips:
    """Every video of a data set as latents, `num_variants` times over, each variant augmented anew.

    A variant is encoded when a clip of it first comes up, and kept in memory; or it is read from `store`, a folder
    that `longtake data encode` has written. Which clip stands at which position is `ClipDataset`'s choice, so a run
    is as repeatable as without either. Raises `UserError` if the store is not one of these videos and networks.
    """

    def __init__(
        self, dataset: ClipDataset, frame_vae: AutoencoderKL, num_variants: int = 0, store: str | None = None
    ) -> None:
        assert num_variants or store, "nothing says how many variants there are"
        self.dataset = dataset
        self.frame_vae = frame_vae
        self.store: EncodedStore | None = None
        if store is not None:
            self.store = EncodedStore(Path(store))
            self.store.require(latent_encoding(frame_vae, dataset), dataset.index, num_variants)
            num_variants = num_variants or self.store.num_variants
        self.num_variants = num_variants
        self._known: dict[tuple[int, int], Float[Tensor, "t c h w"]] = {}

    def latents(self, video: int, variant: int) -> Float[Tensor, "t c h w"]:
        """All frames of one variant of `dataset.entries[video]`, on the CPU; not to be written to."""
        if self.store is not None:
            name = video_name(self.dataset.index.root, self.dataset.entries[video].path)
            return self.store[key_of(name, variant)]
        if (video, variant) not in self._known:
            frames = vary(self.dataset.video(video), self.dataset, video, variant)
            self._known[video, variant] = video_latents(self.frame_vae, frames)
        return self._known[video, variant]

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


class KnownFeatures:
    """Global features by clip, kept in blocks on the CPU or wherever the first of them lies.

    Not a tensor each: small ones that stay, made between large ones that go, keep the allocator from using the room of
    the large ones again (seen: gigabytes for megabytes of features).
    """

    BLOCK = 256

    def __init__(self) -> None:
        self._places: dict[tuple[int, int, int], int] = {}
        self._blocks: list[Float[Tensor, "n c h w"]] = []

    def __contains__(self, clip: tuple[int, int, int]) -> bool:
        return clip in self._places

    def add(self, clip: tuple[int, int, int], feature: Float[Tensor, "c h w"]) -> None:
        """Keep a copy of the feature of a clip that is not there yet."""
        block, row = divmod(len(self._places), self.BLOCK)
        if row == 0:
            self._blocks.append(feature.new_empty(self.BLOCK, *feature.shape))
        self._blocks[block][row] = feature
        self._places[clip] = block * self.BLOCK + row

    def stack(self, clips: list[tuple[int, int, int]]) -> Float[Tensor, "b c h w"]:
        """Return the features of these clips."""
        places = [divmod(self._places[clip], self.BLOCK) for clip in clips]
        return torch.stack([self._blocks[block][row] for block, row in places])
