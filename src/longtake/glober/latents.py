"""Clips as frame latents: encoded anew for every step, once and kept in memory, or beforehand and read from disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from longtake.core.batch import VideoBatch
from longtake.data.clips import reflect
from longtake.data.dataset import ClipDataset
from longtake.data.encoded import EncodedStore, key_of, weights_sha256
from longtake.data.encoded_index import Encoding
from longtake.data.index import VideoIndex, video_name
from longtake.data.known_clips import ClipKey
from longtake.data.transforms import SquareFrames, to_video
from longtake.data.variants import vary
from longtake.glober import endless
from longtake.glober.config import GloberRecipe
from longtake.glober.frame_vae import encode_frames

CONTENT = "frame latents"  # what a store of them is said to hold


@dataclass(frozen=True)
class LatentBatch:
    """Clips of frame latents.

    Attributes:
        latents: every frame of each clip, "b t c h w", zeros beyond the end of one that is shorter than others.
        lengths: number of frames of each clip.
        label: class of each clip (-1: none), "b".
        text: caption of each clip ("": none).
        clips: each clip's key.
        follows: which clips come with the window before them, "b"; None where none is asked for.
        previous: these windows, in order; None if there are none.
    """

    latents: Float[Tensor, "b t c h w"]
    lengths: list[int]
    label: Int[Tensor, " b"]
    text: list[str]
    clips: list[ClipKey]
    follows: Bool[Tensor, " b"] | None = None
    previous: LatentBatch | None = None

    def to(self, device: torch.device | str) -> LatentBatch:
        """Return the batch with its tensors on `device`."""
        return replace(
            self,
            latents=self.latents.to(device),
            label=self.label.to(device),
            follows=None if self.follows is None else self.follows.to(device),
            previous=None if self.previous is None else self.previous.to(device),
        )


def clip_lengths(batch: VideoBatch | LatentBatch) -> list[int]:
    """Return the number of frames of each clip."""
    if isinstance(batch, LatentBatch):
        return batch.lengths
    return [batch.video.shape[2]] * len(batch.video)


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
    affine = [frame_vae.config[name] for name in ("latents_mean", "latents_std", "scaling_factor")]
    if frame_vae.config.shift_factor:  # most have none, and stores of theirs are older than this line
        affine.append(frame_vae.config.shift_factor)
    weights = weights_sha256(frame_vae.state_dict(), affine)
    return Encoding("glober", CONTENT, weights, dataset.clip.size, dataset.augment, dataset.seed)


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

    With `first_windows` below 1 only that share of clips stands alone; the others are drawn anew, each along with the
    window before it (see `endless.draw_pair`), if their video is long enough. With `whole_videos` each clip is all of
    its video instead, whatever the clip of `dataset`.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        frame_vae: AutoencoderKL,
        num_variants: int = 0,
        store: str | None = None,
        first_windows: float = 1.0,
        *,
        whole_videos: bool = False,
    ) -> None:
        assert num_variants or store, "nothing says how many variants there are"
        self.dataset = dataset
        self.frame_vae = frame_vae
        self.first_windows = first_windows
        self.whole_videos = whole_videos
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
        drawn = [self._draw(position) for position in positions]
        batch = self._read([clip for clip, _ in drawn])
        if self.first_windows == 1:
            return batch
        previous = [before for _, before in drawn if before is not None]
        follows = torch.tensor([before is not None for _, before in drawn])
        return replace(batch, follows=follows, previous=self._read(previous) if previous else None)

    def _draw(self, position: int) -> tuple[ClipKey, ClipKey | None]:
        """Return the clip at a position, and the window before it if it comes along."""
        video, indices, rng = self.dataset.choose(position)
        variant = int(rng.integers(self.num_variants))
        if self.first_windows < 1 and rng.random() >= self.first_windows:
            clip = self.dataset.clip
            pair = endless.draw_pair(
                self.dataset.entries[video].info.num_frames,
                clip.num_frames,
                reflects=clip.short_videos == "reflect",
                rng=rng,
            )
            if pair is not None:
                return (video, variant, pair[1]), (video, variant, pair[0])
        return (video, variant, 0 if self.whole_videos else int(indices[0])), None

    def _read(self, clips: list[ClipKey]) -> LatentBatch:
        entries = [self.dataset.entries[video] for video, _, _ in clips]
        latents = []
        for (video, variant, start), entry in zip(clips, entries, strict=True):
            clip = self.latents(video, variant)
            if not self.whole_videos:
                frames = reflect(start + np.arange(self.dataset.clip.num_frames), entry.info.num_frames)
                clip = clip[torch.from_numpy(frames)]
            latents.append(clip)
        lengths = [len(clip) for clip in latents]
        labels = torch.tensor([entry.label for entry in entries])
        return LatentBatch(pad_sequence(latents, True), lengths, labels, [entry.text for entry in entries], clips)
